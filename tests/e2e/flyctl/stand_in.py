#!/usr/bin/python3
"""Stands in for flyctl: records how it is called, keeps what it is told, and answers as flyctl does.

Installed as a link `flyctl` in a folder of its own; `fly/` beside that folder is its memory:

    state.json      apps with their addresses, secrets, volumes, machines and certificates
    calls.jsonl     one line a call: arguments, standard input, names of the environment, fly.toml
    failures.json   {command: {"says": text, "left": how often}}: what fails, and with which words
    login           the token of its own login, where there is one
    boot.json       which server ought to run; whoever runs it writes its number into `booted`

A flag that flyctl does not have, a missing one, and a fly.toml that leaves something out are refused:
`fly deploy` takes a file for all that a machine ought to be. Standard library only.
"""

import fcntl
import hashlib
import json
import os
import pathlib
import sys
import time
import tomllib

MEMORY = pathlib.Path(os.path.abspath(sys.argv[0])).parent.parent / "fly"
APP = {"--app": str}
JSON = {"--json": bool}
YES = {"--yes": bool}

# Command -> how many names stand behind it, and its flags; every one of them is asked for.
COMMANDS = {
    "auth token": (0, JSON),
    "orgs list": (0, JSON),
    "status": (0, APP | JSON),
    "apps create": (1, {"--org": str} | YES | JSON),
    "apps destroy": (1, YES),
    "ips list": (0, APP | JSON),
    "ips allocate-v6": (0, APP),
    "ips allocate-v4": (0, APP | {"--shared": bool}),
    "secrets list": (0, APP | JSON),
    "secrets import": (0, APP | {"--stage": bool}),
    "secrets unset": (None, APP | {"--stage": bool}),
    "volumes list": (0, APP | JSON),
    "volumes create": (
        1,
        APP | YES | JSON
        | {"--region": str, "--size": int, "--snapshot-retention": int}
        | {"--vm-size": str, "--vm-memory": int},
    ),
    "volumes extend": (1, APP | YES | {"--size": int}),
    "volumes update": (1, APP | JSON | {"--snapshot-retention": int}),
    "machine list": (0, APP | JSON),
    "machine start": (1, APP),
    "machine restart": (1, APP),
    "deploy": (
        0,
        APP | YES
        | {"--config": str, "--image": str, "--ha": bool, "--strategy": str}
        | {"--wait-timeout": str, "--smoke-checks": bool},
    ),
    "certs list": (0, APP | JSON),
    "certs add": (1, APP | JSON),
    "certs setup": (1, APP | JSON),
    "certs check": (1, APP | JSON),
    "certs remove": (1, APP | YES),
}


class Failure(Exception):
    pass


def parsed(arguments):
    """Returns command, names and flags; refuses what flyctl would refuse, and what is left out."""
    command = " ".join(arguments[:2])
    if command not in COMMANDS:
        command = arguments[0]
    if command not in COMMANDS:
        raise Failure(f'unknown command "{command}" for "flyctl"')
    count, known = COMMANDS[command]
    names, flags = [], {}
    rest = iter(arguments[len(command.split()):])
    for word in rest:
        flag, _, value = word.partition("=")
        if not flag.startswith("-"):
            names.append(word)
        elif flag not in known:
            raise Failure(f"unknown flag: {flag}")
        elif known[flag] is bool:
            flags[flag] = value != "false"
        else:
            flags[flag] = known[flag](value or next(rest))
    if missing := known.keys() - flags.keys():
        raise Failure(f"the stand-in wants {sorted(missing)} after {command}")
    if count is not None and len(names) != count:
        raise Failure(f"accepts {count} arg(s), received {len(names)}")
    return command, names, flags


def answer(value):
    print(json.dumps(value, indent=4))


def digest(value):
    return hashlib.sha256(value.encode()).hexdigest()[:16]


def app_of(state, name):
    if name not in state["apps"]:
        raise Failure(f'failed to get app: Could not find App "{name}"')
    return state["apps"][name]


def one_of(things, id):
    found = [thing for thing in things if thing["id"] == id]
    if not found:
        raise Failure(f"{id} not found")
    return found[0]


def shown_app(name, app):
    organisation = {"ID": "o1", "Name": "Ann", "Slug": app["organisation"]}
    return {"ID": name, "Name": name, "Status": "deployed", "Organization": organisation}


def create_app(state, names, flags):
    if names[0] in state["apps"] or names[0] in state["taken"]:
        raise Failure("Validation failed: Name has already been taken")
    if flags["--org"] not in state["organisations"]:
        raise Failure(f"organization {flags['--org']} not found")
    kinds = ["ips", "volumes", "machines", "certificates"]
    app = {"organisation": flags["--org"], "secrets": {}} | {kind: [] for kind in kinds}
    state["apps"][names[0]] = app
    answer(shown_app(names[0], app))


def allocate(app, kind, address):
    if any(ip["Type"] == kind for ip in app["ips"]):
        raise Failure(f"the app has a {kind} already")
    app["ips"].append({"ID": kind, "Address": address, "Type": kind, "Region": "global"})
    print(f"VERSION  IP\n{kind}  {address}")


def import_secrets(app, text):
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if not equals:
            raise Failure(f"Secrets must be provided as NAME=VALUE pairs ({line} is invalid)")
        app["secrets"][name] = value
    print("Secrets have been staged, but not set on VMs.")


def create_volume(app, names, flags):
    volume = {
        "id": f"vol_{len(app['volumes']) + 1}",
        "name": names[0],
        "state": "created",
        "size_gb": flags["--size"],
        "region": flags["--region"],
        "encrypted": True,
        "attached_machine_id": None,
        "snapshot_retention": flags["--snapshot-retention"],
        "host_status": "ok",
    }
    app["volumes"].append(volume)
    answer(volume)


def machine_config(file, image):
    """Returns what flyctl makes of the file; what the file leaves out, the machine does not have."""
    service, vm, mount = file["http_service"], file["vm"][0], file["mounts"][0]
    web = {"port": 80, "handlers": ["http"], "force_https": service["force_https"]}
    tls = {"port": 443, "handlers": ["http", "tls"]}
    for key in ("http_options", "tls_options"):
        tls[key] = service[key]
    for port in (web, tls):
        port["http_options"] = service["http_options"]
    config = {
        "image": image if "@" in image else f"{image}@sha256:{'0' * 64}",
        "guest": {
            "cpu_kind": vm["cpu_kind"],
            "cpus": vm["cpus"],
            "memory_mb": int(vm["memory"].removesuffix("mb")),
        },
        "env": file["env"] | {"FLY_PROCESS_GROUP": "app", "PRIMARY_REGION": file["primary_region"]},
        "services": [
            {
                "protocol": "tcp",
                "internal_port": service["internal_port"],
                "autostop": service["auto_stop_machines"],
                "autostart": service["auto_start_machines"],
                "min_machines_running": service["min_machines_running"],
                "concurrency": service["concurrency"],
                "ports": [web, tls],
                "checks": [{"type": "http"} | check for check in service["checks"]],
            }
        ],
        "restart": file["restart"][0],
        "stop_config": {"signal": file["kill_signal"], "timeout": f"{file['kill_timeout']}s"},
        "metrics": file["metrics"],
        "metadata": {"fly_platform_version": "v2", "fly_process_group": "app"},
    }
    mounted = {"encrypted": True, "path": mount["destination"], "name": mount["source"]}
    if "auto_extend_size_threshold" in mount:
        gigabytes = lambda key: int(mount[key].removesuffix("GB"))
        mounted["extend_threshold_percent"] = mount["auto_extend_size_threshold"]
        mounted["add_size_gb"] = gigabytes("auto_extend_size_increment")
        mounted["size_gb_limit"] = gigabytes("auto_extend_size_limit")
    return config, mounted


def deploy(app, flags, file):
    if file["app"] != flags["--app"]:
        raise Failure(f"the file is for {file['app']}")
    if flags["--ha"]:
        raise Failure("a second machine would have no volume")
    config, mount = machine_config(file, flags["--image"])
    if app["machines"]:
        machine = app["machines"][0]
        if machine["config"]["mounts"][0]["name"] != mount["name"]:
            raise Failure(f"machine in group 'app' needs an unattached volume named '{mount['name']}'")
        mount["volume"] = machine["config"]["mounts"][0]["volume"]
    else:
        region = file["primary_region"]
        for volume in app["volumes"]:
            if volume["name"] == mount["name"] and volume["region"] == region:
                break
        else:
            raise Failure(
                f"New machine in group 'app' needs an unattached volume named '{mount['name']}' "
                f"in region '{region}'"
            )
        machine = {"id": "m1", "name": "quiet-sea-1", "region": region, "events": [], "checks": []}
        app["machines"].append(machine)
        volume["attached_machine_id"] = machine["id"]
        mount["volume"] = volume["id"]
    machine["config"] = config | {"mounts": [mount]}
    boot(app, machine)
    print("Visit your newly deployed app")


def boot(app, machine):
    """Lets the server run with the machine's environment and secrets, and waits until it does."""
    machine["state"] = "started"
    wish, done = MEMORY / "boot.json", MEMORY / "booted"
    number = machine["boots"] = machine.get("boots", 0) + 1
    machine["instance_id"] = f"v{number}"
    volume = machine["config"]["mounts"][0]["volume"]
    environment = machine["config"]["env"] | app["secrets"]
    replace(wish, {"number": number, "volume": volume, "environment": environment})
    deadline = time.monotonic() + 30
    while not done.exists() or done.read_text() != str(number):
        if time.monotonic() > deadline:
            raise Failure("timeout reached waiting for health checks to pass for machine m1")
        time.sleep(0.01)


def certificate(flags, host):
    return {
        "hostname": host,
        "configured": False,
        "status": "pending_validation",
        "dns_requirements": {
            "a": ["66.241.124.1"],
            "aaaa": ["2a09:8280:1::1"],
            "cname": f"{flags['--app']}.fly.dev",
            "acme_challenge": {"name": f"_acme-challenge.{host}", "target": f"{host}.x.flydns.net"},
            "ownership": {"name": f"_fly-ownership.{host}", "app_value": "app-1"},
        },
    }


def certificates(app, command, names, flags):
    hosts = app["certificates"]
    if command == "certs list":
        rows = [certificate(flags, host) for host in hosts]
        return answer([{key: row[key] for key in ("hostname", "configured", "status")} for row in rows])
    known = names[0] in hosts
    if command == "certs add":
        if known:
            raise Failure("Hostname already exists on app")
        hosts.append(names[0])
    elif not known:
        raise Failure(f"certificate for {names[0]} not found")
    elif command == "certs remove":
        hosts.remove(names[0])
        return print(f"Certificate {names[0]} deleted")
    return answer(certificate(flags, names[0]))


def act(state, command, names, flags, given):
    if command == "auth token":
        return answer({"token": given["token"]})
    if command == "orgs list":
        return answer(state["organisations"])
    if command == "apps create":
        return create_app(state, names, flags)
    app = app_of(state, names[0] if command == "apps destroy" else flags["--app"])
    if command.startswith("certs"):
        return certificates(app, command, names, flags)
    match command:
        case "status":
            answer(shown_app(flags["--app"], app))
        case "apps destroy":
            del state["apps"][names[0]]
            print(f"Destroyed app {names[0]}")
        case "ips list":
            answer(app["ips"])
        case "ips allocate-v6":
            allocate(app, "v6", "2a09:8280:1::1")
        case "ips allocate-v4":
            allocate(app, "shared_v4", "66.241.124.1")
        case "secrets list":
            rows = app["secrets"].items()
            answer([{"name": n, "digest": digest(v), "status": "Deployed"} for n, v in rows])
        case "secrets import":
            import_secrets(app, given["stdin"])
        case "secrets unset":
            for name in names:
                app["secrets"].pop(name, None)
        case "volumes list":
            answer(app["volumes"])
        case "volumes create":
            create_volume(app, names, flags)
        case "volumes extend":
            one_of(app["volumes"], names[0])["size_gb"] = flags["--size"]
            print("Your Machine got its volume size extended without needing a restart")
        case "volumes update":
            volume = one_of(app["volumes"], names[0])
            volume["snapshot_retention"] = flags["--snapshot-retention"]
            answer(volume)
        case "machine list":
            answer(app["machines"])
        case "machine start" | "machine restart":
            boot(app, one_of(app["machines"], names[0]))
        case "deploy":
            deploy(app, flags, given["fly_toml"])


def replace(path, value):
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(value))
    temporary.rename(path)


def take_failure(command):
    path = MEMORY / "failures.json"
    failures = json.loads(path.read_text()) if path.exists() else {}
    failure = failures.get(command)
    if failure is None or failure.get("left") == 0:
        return
    if "left" in failure:
        failure["left"] -= 1
        replace(path, failures)
    raise Failure(failure["says"])


def login():
    token = MEMORY / "login"
    found = os.environ.get("FLY_API_TOKEN") or (token.exists() and token.read_text())
    if not found:
        raise Failure("no access token available. Please login with 'flyctl auth login'")
    return found


def run():
    arguments = sys.argv[1:]
    given = {"stdin": "" if sys.stdin is None else sys.stdin.read(), "fly_toml": None}
    if "--config" in arguments:
        path = pathlib.Path(arguments[arguments.index("--config") + 1])
        given["fly_toml"] = tomllib.loads(path.read_text())
        given["folder_mode"] = oct(path.parent.stat().st_mode & 0o777)
    call = {"arguments": arguments, "environment": sorted(os.environ), "cwd": os.getcwd()} | given
    with (MEMORY / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps(call) + "\n")
    command, names, flags = parsed(arguments)
    given["token"] = login()
    take_failure(command)
    state = json.loads((MEMORY / "state.json").read_text())
    try:
        act(state, command, names, flags, given)
    finally:
        replace(MEMORY / "state.json", state)


def main():
    with (MEMORY / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            run()
        except Failure as failure:
            print(f"Error: {failure}", file=sys.stderr)
            sys.exit(1)
        except KeyError as missing:
            print(f"Error: the file or the call leaves out {missing}", file=sys.stderr)
            sys.exit(1)


main()
