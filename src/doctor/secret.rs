//! Findings about the secret of an app on Fly.io: which one is taken, and whether it is known. Pure.

use super::{
    Finding,
    facts::{FlyFacts, SecretFacts, ServerFacts, Taken},
    platform::{self, PROVISION},
};
use crate::provision::actual::{PREVIOUS_SECRET, SECRET};

const TOPIC: &str = "secret";

pub(super) fn findings(facts: &FlyFacts, server: Option<&ServerFacts>) -> Vec<Finding> {
    if platform::has_no_app(facts) {
        return Vec::new();
    }
    let secret = match &facts.secret {
        Ok(secret) => secret,
        Err(error) => return vec![Finding::error(TOPIC, error, Some(error.hint()))],
    };
    let set = set(facts);
    if set.is_some_and(|set| !set.has_one) {
        let what = format!("the app has no {SECRET}: its server does not start");
        return vec![Finding::broken(TOPIC, what, PROVISION)];
    }
    vec![taken(secret, set, server)]
}

/// What the platform has.
#[derive(Debug, Clone, Copy)]
struct Set {
    has_one: bool,
    has_previous: bool,
    /// Whether the one that it has is the one that was set from here.
    is_remembered: bool,
}

fn set(facts: &FlyFacts) -> Option<Set> {
    let secrets = facts
        .look
        .as_ref()?
        .inside
        .as_ref()?
        .secrets
        .as_ref()
        .ok()?;
    let find = |name| secrets.iter().find(|secret| secret.name == name);
    let one = find(SECRET);
    let remembered = facts.record.as_ref().and_then(|r| r.secret_digest.as_ref());
    Some(Set {
        has_one: one.is_some(),
        has_previous: find(PREVIOUS_SECRET).is_some(),
        is_remembered: remembered.is_some() && one.map(|one| &one.digest) == remembered,
    })
}

fn taken(secret: &SecretFacts, set: Option<Set>, server: Option<&ServerFacts>) -> Finding {
    let origin = server.map_or("", |server| server.secret_origin.as_str());
    let finish = "run `onsave provision`: it finishes that";
    match (secret.taken, &secret.known) {
        (Taken::Next, _) => Finding::warning(
            TOPIC,
            "a change of the secret reached the server, and is not noted on this machine yet",
            finish,
        ),
        (Taken::Known, _) if secret.begun => Finding::warning(
            TOPIC,
            "a change of the secret was begun and did not reach the server; it takes the one before",
            "run `onsave secret rotate`: it goes on with that change",
        ),
        (Taken::Known, _) => {
            let also = match set {
                Some(set) if set.has_previous => ", and the one before it",
                _ => "",
            };
            Finding::ok(TOPIC, format!("the server takes the one of {origin}{also}"))
        }
        (Taken::Neither, _) if secret.given => Finding::broken(
            TOPIC,
            format!("the server refuses the one of {origin}"),
            "run `onsave provision`: it sets that one in the app; or correct it there",
        ),
        (Taken::Neither, _) => Finding::broken(
            TOPIC,
            format!("the server refuses the one of {origin}"),
            "run `onsave provision`: it sets a new one; or give the app's in ONSAVE_SYNC_SECRET",
        ),
        (Taken::Unknown, None) if !secret.begun => Finding::broken(
            TOPIC,
            "the secret of the app is not known on this machine",
            "run `onsave provision`: it sets a new one; or give the app's in ONSAVE_SYNC_SECRET",
        ),
        (Taken::Unknown, _) if secret.begun => Finding::warning(
            TOPIC,
            "a change of the secret was begun, and the server cannot be asked which one it takes",
            finish,
        ),
        (Taken::Unknown, _) if set.is_some_and(|set| set.is_remembered) => Finding::ok(
            TOPIC,
            "the app has the one that was set from here; the server could not be asked",
        ),
        (Taken::Unknown, _) => Finding::warning(
            TOPIC,
            "the server could not be asked whether it takes the secret",
            "look again when it answers",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{Verdict, facts::ServerSeen};

    fn facts(known: bool, begun: bool, taken: Taken) -> SecretFacts {
        SecretFacts {
            known: known.then(|| "/h/fly-secret".to_owned()),
            given: false,
            begun,
            taken,
        }
    }

    const SET: Set = Set {
        has_one: true,
        has_previous: false,
        is_remembered: false,
    };

    #[track_caller]
    fn assert_taken(facts: &SecretFacts, (verdict, what, fix): (Verdict, &str, &str)) {
        let server = ServerFacts {
            name: "https://my-site.fly.dev".into(),
            secret_origin: "/h/fly-secret".into(),
            seen: ServerSeen::Silent,
        };
        let finding = taken(facts, Some(SET), Some(&server));
        assert_eq!(finding.verdict, verdict, "{facts:?}");
        assert!(finding.what.contains(what), "{finding:?}");
        assert!(finding.fix.unwrap_or_default().contains(fix), "{facts:?}");
    }

    #[test]
    fn what_the_server_takes_or_refuses_is_told() {
        use Taken::{Known, Neither, Next};

        let well = (Verdict::Ok, "/h/fly-secret", "");
        assert_taken(&facts(true, false, Known), well);
        let begun = (Verdict::Warning, "begun", "rotate");
        assert_taken(&facts(true, true, Known), begun);
        let reached = (Verdict::Warning, "reached", "provision");
        assert_taken(&facts(true, true, Next), reached);
        assert_taken(&facts(false, true, Next), reached);
        let refused = (Verdict::Broken, "refuses", "new one");
        assert_taken(&facts(true, false, Neither), refused);
        assert_taken(&facts(true, true, Neither), refused);
    }

    #[test]
    fn where_nobody_could_be_asked_it_is_said_what_is_known() {
        let unknown = |known, begun| facts(known, begun, Taken::Unknown);
        let lost = (Verdict::Broken, "not known", "new one");
        assert_taken(&unknown(false, false), lost);
        let begun = (Verdict::Warning, "begun", "finishes");
        assert_taken(&unknown(true, true), begun);
        assert_taken(&unknown(false, true), begun);
        let unasked = (Verdict::Warning, "could not", "again");
        assert_taken(&unknown(true, false), unasked);
    }

    #[test]
    fn what_was_set_from_here_is_believed_where_nobody_answers() {
        let set = Set {
            is_remembered: true,
            ..SET
        };
        let finding = taken(&facts(true, false, Taken::Unknown), Some(set), None);
        assert_eq!(finding.verdict, Verdict::Ok);
    }

    #[test]
    fn a_given_secret_is_corrected_where_it_is_given() {
        let given = SecretFacts {
            given: true,
            ..facts(true, false, Taken::Neither)
        };
        let finding = taken(&given, Some(SET), None);
        assert!(finding.fix.unwrap().contains("correct it there"));
    }

    #[test]
    fn the_one_before_is_told() {
        let set = Set {
            has_previous: true,
            ..SET
        };
        let finding = taken(&facts(true, false, Taken::Known), Some(set), None);
        assert!(finding.what.ends_with("and the one before it"));
    }
}
