//! One setting: from the text of a flag or a variable to a value, or to a fault in words.
//!
//! Owns what each kind of value has to look like; which settings there are is the parent's.

use std::{
    ffi::OsString,
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use onsave_protocol::Secret;

use crate::{config::TrailingSlash, observer::AccessLogFormat, telemetry::LogFormat};

/// Longest time that can be set, in seconds: a year is longer than anybody means, and far from what
/// a clock cannot add.
const MOST_SECONDS: u64 = 365 * 24 * 60 * 60;

/// Reads settings, and gathers what is wrong with them.
pub(super) struct Source<'e> {
    pub(super) variable: &'e dyn Fn(&str) -> Option<OsString>,
    pub(super) faults: Vec<String>,
}

impl Source<'_> {
    /// Returns a variable that is set to some text.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let value = (self.variable)(name).filter(|value| !value.is_empty())?;
        let text = value.into_string();
        if text.is_err() {
            self.faults.push(format!("{name} is not UTF-8"));
        }
        text.ok()
    }

    /// Returns what the flag or the variable says, if any does.
    pub(super) fn given<T: Setting>(
        &mut self,
        flag: Option<&str>,
        name: &str,
        variable: &str,
    ) -> Option<T> {
        let (value, from) = match flag.filter(|value| !value.is_empty()) {
            Some(value) => (value.to_owned(), format!("--{name}")),
            None => (self.text(variable)?, variable.to_owned()),
        };
        let parsed = T::read(&value);
        if parsed.is_none() {
            let expected = T::EXPECTED;
            self.faults
                .push(format!("{from} is {value:?}, and has to be {expected}"));
        }
        parsed
    }

    pub(super) fn value<T: Setting>(
        &mut self,
        flag: Option<&str>,
        name: &str,
        variable: &str,
        default: T,
    ) -> T {
        self.given(flag, name, variable).unwrap_or(default)
    }

    /// Returns a limit, which is at least one: a server that takes nothing is a mistake.
    pub(super) fn count<T: Setting + Default + PartialEq>(
        &mut self,
        flag: Option<&str>,
        variable: &str,
        default: T,
    ) -> T {
        let name = variable.to_ascii_lowercase().replace('_', "-");
        let value = self.value(flag, &name, variable, default);
        if value == T::default() {
            self.faults.push(format!("{variable} has to be at least 1"));
        }
        value
    }

    pub(super) fn seconds(
        &mut self,
        flag: Option<&str>,
        variable: &str,
        default: Duration,
    ) -> Duration {
        let time = self.seconds_or_none(flag, variable, default);
        if time.is_zero() {
            self.faults.push(format!("{variable} has to be at least 1"));
        }
        time
    }

    /// Returns a time in seconds, which may be none at all.
    pub(super) fn seconds_or_none(
        &mut self,
        flag: Option<&str>,
        variable: &str,
        default: Duration,
    ) -> Duration {
        let name = variable.to_ascii_lowercase().replace('_', "-");
        let seconds = self.value(flag, &name, variable, default.as_secs());
        if seconds > MOST_SECONDS {
            self.faults
                .push(format!("{variable} can be at most {MOST_SECONDS}"));
        }
        Duration::from_secs(seconds)
    }

    /// Returns a secret from a variable or from the file that another one names.
    pub(super) fn secret(&mut self, variable: &str, file_variable: &str) -> Option<Secret> {
        let (direct, file) = (self.text(variable), self.text(file_variable));
        let text = match (direct, file) {
            (Some(_), Some(_)) => {
                self.faults
                    .push(format!("{variable} and {file_variable} exclude each other"));
                return None;
            }
            (Some(text), None) => text,
            (None, Some(file)) => match std::fs::read_to_string(&file) {
                Ok(text) => text,
                Err(error) => {
                    self.faults
                        .push(format!("{file_variable}: {file} cannot be read: {error}"));
                    return None;
                }
            },
            (None, None) => return None,
        };
        match Secret::from_text(&text) {
            Ok(secret) => Some(secret),
            Err(error) => {
                self.faults.push(format!("{variable}: {error}"));
                None
            }
        }
    }
}

/// A value that is written as text.
pub(super) trait Setting: Sized {
    /// What the text has to be, for a fault.
    const EXPECTED: &'static str;

    /// Returns the value that `text` writes.
    fn read(text: &str) -> Option<Self>;
}

macro_rules! setting_from_str {
    ($($kind:ty: $expected:literal),+ $(,)?) => {
        $(impl Setting for $kind {
            const EXPECTED: &'static str = $expected;

            fn read(text: &str) -> Option<Self> {
                Self::from_str(text).ok()
            }
        })+
    };
}

setting_from_str! {
    u16: "a port from 0 to 65535",
    u32: "a whole number",
    u64: "a whole number",
    usize: "a whole number",
    bool: "true or false",
    NonZeroUsize: "a whole number of at least 1",
    IpAddr: "an IP address",
    SocketAddr: "an IP address and a port, such as 0.0.0.0:9091",
    PathBuf: "a folder",
}

impl Setting for TrailingSlash {
    const EXPECTED: &'static str = "auto, never or always";

    fn read(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self::Auto),
            "never" => Some(Self::Never),
            "always" => Some(Self::Always),
            _ => None,
        }
    }
}

impl Setting for Option<AccessLogFormat> {
    const EXPECTED: &'static str = "off, common or json";

    fn read(text: &str) -> Option<Self> {
        match text {
            "off" => Some(None),
            "common" => Some(Some(AccessLogFormat::Common)),
            "json" => Some(Some(AccessLogFormat::Json)),
            _ => None,
        }
    }
}

impl Setting for LogFormat {
    const EXPECTED: &'static str = "pretty or json";

    fn read(text: &str) -> Option<Self> {
        match text {
            "pretty" => Some(Self::Pretty),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}
