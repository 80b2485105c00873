//! What one try of a request came to. Pure.

use std::time::{Duration, SystemTime};

use onsave_protocol::Secret;

use super::schedule::{self, Verdict};
use crate::{
    error_report,
    http::{Answer, HttpError},
};

/// How much of an answer's words is told, in characters.
const TOLD_CHARACTERS: usize = 200;

/// What one try came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Attempt {
    /// It was taken.
    Taken,
    /// It may be taken later, not before the time that the receiver asks for.
    Later {
        error: String,
        after: Option<Duration>,
    },
    /// It is never taken.
    Refused(String),
    /// It was given up, since this process ends.
    Stopped,
}

impl Attempt {
    pub(super) const fn later(error: String) -> Self {
        Self::Later { error, after: None }
    }

    /// Returns what an exchange came to; nothing of `secret` is repeated.
    pub(super) fn of(
        exchange: Result<Answer, HttpError>,
        secret: Option<&Secret>,
        now: SystemTime,
    ) -> Self {
        let answer = match exchange {
            Ok(answer) => answer,
            Err(error @ (HttpError::Invalid(_) | HttpError::BadUrl)) => {
                return Self::Refused(error_report::with_causes(&error));
            }
            // It was acted upon, whatever else was said.
            Err(HttpError::AnswerTooLong(_)) => return Self::Taken,
            Err(error) => return Self::later(error_report::with_causes(&error)),
        };
        let said = || {
            let words = words(&answer.body, secret);
            let status = answer.status;
            match answer
                .header("location")
                .filter(|_| (300..400).contains(&status))
            {
                Some(location) => format!("the answer is {status}, to {location}"),
                None if words.is_empty() => format!("the answer is {status}"),
                None => format!("the answer is {status}: {words}"),
            }
        };
        match schedule::verdict(answer.status) {
            Verdict::Taken => Self::Taken,
            Verdict::Refused => Self::Refused(said()),
            Verdict::Later => Self::Later {
                error: said(),
                after: answer
                    .header("retry-after")
                    .and_then(|value| schedule::retry_after(value, now)),
            },
        }
    }
}

/// Returns the start of an answer's words in one line, without anything that a terminal would obey.
pub(super) fn words(body: &[u8], secret: Option<&Secret>) -> String {
    let mut text = String::from_utf8_lossy(body).into_owned();
    if let Some(secret) = secret.and_then(|secret| std::str::from_utf8(secret.expose()).ok()) {
        text = text.replace(secret, "****");
    }
    let plain = |letter: char| if letter.is_control() { ' ' } else { letter };
    let line: String = text.chars().map(plain).take(TOLD_CHARACTERS).collect();
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Attempt {
        let secret = Secret::from_text("hunter2").unwrap();
        let answer = Answer::made_up(status, headers, body);
        Attempt::of(Ok(answer), Some(&secret), SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn answers() {
        assert_eq!(of(204, &[], ""), Attempt::Taken);
        let refused = |text: &str| Attempt::Refused(text.to_owned());
        assert_eq!(
            of(401, &[], "bad\nhunter2"),
            refused("the answer is 401: bad ****")
        );
        let moved = of(301, &[("location", "https://x/")], "moved");
        assert_eq!(moved, refused("the answer is 301, to https://x/"));
        let busy = Attempt::Later {
            error: "the answer is 429".into(),
            after: Some(Duration::from_secs(7)),
        };
        assert_eq!(of(429, &[("retry-after", "7")], ""), busy);
        let stalled = HttpError::Stalled(Duration::from_secs(3));
        let later = Attempt::of(Err(stalled), None, SystemTime::UNIX_EPOCH);
        assert_eq!(later, Attempt::later("nothing moved for 3 s".into()));
    }
}
