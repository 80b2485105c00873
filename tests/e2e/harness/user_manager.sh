#!/bin/sh
# A user's service manager with its journal, for one test: in namespaces of its own, with a /run, a home
# and a control group of its own, as user 1000. Ends, and takes all of it away, when its input ends.
#
#   user_manager.sh outer ONSAVE HOME CGROUP
set -eu

runtime=/run/user/1000

# In the test's own process and user namespaces, in a mount namespace of its own.
outer() {
    cgroup=/sys/fs/cgroup/$3
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    mkdir "$cgroup"
    # The outer shell stays out of the group, so that it can remove it.
    sh -c 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"' sh "$cgroup" \
        unshare --cgroup --pid --fork --kill-child --mount --mount-proc sh "$0" inner "$1" "$2" </dev/null &
    echo "pid $!"
    cat >/dev/null
    # With its first process, everything in a process namespace ends.
    kill -KILL "$!" || true
    wait "$!" || true
    # What was killed stays in its group until the system is done with it.
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null && return
        sleep 0.1
    done
    echo "$cgroup could not be removed" >&2
}

# The first process of the namespace.
inner() {
    # The same file system, but from here on seen from the group of this namespace.
    umount /sys/fs/cgroup
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    mount -t tmpfs -o mode=755 tmpfs /run
    mount -t tmpfs -o mode=755 tmpfs /var/log
    mkdir -p /run/systemd/system /run/systemd/journal /var/log/journal "$runtime"
    chown 1000:1000 "$runtime"
    chmod 700 "$runtime"
    # Where whoever is not root may start it, too.
    touch /run/onsave
    mount --bind "$1" /run/onsave
    # A user that is nobody else's on this machine.
    { grep -v ':1000:' /etc/passwd; echo "ann:x:1000:1000::$2:/bin/sh"; } >/run/passwd
    mount --bind /run/passwd /etc/passwd
    # As if the journal had moved from /run to the disk already: only there each user has one.
    touch /run/systemd/journal/flushed
    /lib/systemd/systemd-journald &
    service=/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service
    mkdir -p "$service"
    chown 1000:1000 "$service" "$service/cgroup.procs" "$service/cgroup.subtree_control" "$service/cgroup.threads"
    sh -c 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"' sh "$service" \
        setpriv --reuid=1000 --regid=1000 --clear-groups --inh-caps=-all --bounding-set=-all \
        env -i HOME="$2" USER=ann PATH=/usr/bin:/bin LANG=C.UTF-8 XDG_RUNTIME_DIR="$runtime" \
        /lib/systemd/systemd --user --log-target=journal &
    wait
}

"$@"
