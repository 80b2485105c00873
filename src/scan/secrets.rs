//! Files that look like secrets and are never published.
//!
//! Pure. By name where the name leaves no doubt; by content where many harmless files share the
//! name (`*.pem` is often a public certificate). Any file that begins like a PEM private key counts,
//! whatever its name, since its bytes pass through the hash anyway.

/// What a file's name suggests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Suspicion {
    /// Nothing.
    None,
    /// It is a secret if its head has a private key's marker.
    IfMarked,
    /// It is a secret.
    Certain,
}

/// Bytes at the start of a file that are searched for a marker.
pub(super) const HEAD_BYTES: usize = 16 * 1024;

const CERTAIN: [&str; 12] = [
    ".env",
    ".npmrc",
    ".netrc",
    "_netrc",
    ".pypirc",
    ".pgpass",
    ".my.cnf",
    ".htpasswd",
    ".git-credentials",
    ".dockercfg",
    "credentials.json",
    "secring.gpg",
];

const CERTAIN_SUFFIXES: [&str; 4] = [".p12", ".pfx", ".kdbx", ".jks"];

const KEY_FILES: [&str; 4] = ["id_rsa", "id_dsa", "id_ecdsa", "id_ed25519"];

const KEY_SUFFIXES: [&str; 5] = [".pem", ".key", ".ppk", ".der", ".asc"];

/// Templates of an `.env` hold names, not secrets.
const ENV_TEMPLATES: [&str; 4] = [".example", ".sample", ".template", ".dist"];

const MARKERS: [&[u8]; 3] = [
    b"PRIVATE KEY-----",
    b"PRIVATE KEY BLOCK-----",
    b"PuTTY-User-Key-File",
];

/// Returns what the name of a file suggests.
pub(super) fn suspicion(name: &str) -> Suspicion {
    let name = name.to_ascii_lowercase();
    let ends_in = |suffixes: &[&str]| suffixes.iter().any(|suffix| name.ends_with(suffix));
    let env = name.starts_with(".env.") && !ends_in(&ENV_TEMPLATES);
    if env || CERTAIN.contains(&name.as_str()) || ends_in(&CERTAIN_SUFFIXES) {
        Suspicion::Certain
    } else if KEY_FILES.contains(&name.as_str()) || ends_in(&KEY_SUFFIXES) {
        Suspicion::IfMarked
    } else {
        Suspicion::None
    }
}

/// Returns whether a file with this head is a private key.
pub(super) fn is_private_key(head: &[u8], suspicion: Suspicion) -> bool {
    let head = &head[..head.len().min(HEAD_BYTES)];
    let text = match suspicion {
        Suspicion::Certain => return true,
        Suspicion::IfMarked => head,
        Suspicion::None if head.starts_with(b"-----BEGIN ") => {
            head.split(|byte| *byte == b'\n').next().unwrap_or(head)
        }
        Suspicion::None => return false,
    };
    MARKERS
        .iter()
        .any(|marker| text.windows(marker.len()).any(|part| part == *marker))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, expected) in [
            (".env", Suspicion::Certain),
            (".env.production", Suspicion::Certain),
            (".env.example", Suspicion::None),
            (".ENV", Suspicion::Certain),
            (".npmrc", Suspicion::Certain),
            ("site.p12", Suspicion::Certain),
            ("server.pem", Suspicion::IfMarked),
            ("Server.KEY", Suspicion::IfMarked),
            ("id_ed25519", Suspicion::IfMarked),
            ("id_ed25519.pub", Suspicion::None),
            ("index.html", Suspicion::None),
            ("environment", Suspicion::None),
            ("keynote.html", Suspicion::None),
        ] {
            assert_eq!(suspicion(name), expected, "{name}");
        }
    }

    #[test]
    fn content() {
        let openssh = b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl";
        let bags = b"Bag Attributes\n-----BEGIN RSA PRIVATE KEY-----\n";
        let certificate = b"-----BEGIN CERTIFICATE-----\nMIIB";
        let article = b"<p>A key begins -----BEGIN RSA PRIVATE KEY-----</p>";
        let quoted = b"-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n";
        for (head, suspicion, expected) in [
            (openssh.as_slice(), Suspicion::IfMarked, true),
            (openssh, Suspicion::None, true),
            (bags, Suspicion::IfMarked, true),
            (bags, Suspicion::None, false),
            (certificate, Suspicion::IfMarked, false),
            (certificate, Suspicion::Certain, true),
            (article, Suspicion::None, false),
            (quoted, Suspicion::IfMarked, true),
            (b"", Suspicion::IfMarked, false),
            (b"PuTTY-User-Key-File-3: ssh-rsa", Suspicion::IfMarked, true),
        ] {
            assert_eq!(is_private_key(head, suspicion), expected);
        }
    }
}
