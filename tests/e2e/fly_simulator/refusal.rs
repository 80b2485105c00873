//! What the platform says when it refuses, in the shapes that it has: two upstreams stand behind one
//! host, and each has its own.

use serde_json::json;

/// How a refusal is written.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shape {
    /// `{"error", "status"}`: machines, volumes, secrets.
    Machines {
        error: String,
        status: Option<&'static str>,
    },
    /// `{"message"}`: apps, addresses, certificates.
    Apps(String),
    /// No JSON: what stands before either, such as a proxy.
    Text(String),
}

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    shape: Shape,
    /// Whole seconds for `Retry-After`.
    pub(crate) retry_after: Option<u64>,
}

impl Refusal {
    const fn new(status: u16, shape: Shape) -> Self {
        Self {
            status,
            shape,
            retry_after: None,
        }
    }

    /// A refusal by what keeps machines, volumes and secrets.
    pub(crate) fn machines(status: u16, error: impl Into<String>) -> Self {
        let error = error.into();
        let shape = Shape::Machines {
            error,
            status: None,
        };
        Self::new(status, shape)
    }

    /// As [`Refusal::machines`], with a code for programs.
    pub(crate) fn coded(status: u16, error: impl Into<String>, code: &'static str) -> Self {
        let error = error.into();
        let shape = Shape::Machines {
            error,
            status: Some(code),
        };
        Self::new(status, shape)
    }

    /// A refusal by what keeps apps, addresses and certificates.
    pub(crate) fn apps(status: u16, message: impl Into<String>) -> Self {
        Self::new(status, Shape::Apps(message.into()))
    }

    /// A refusal as plain text.
    pub(crate) fn text(status: u16, text: impl Into<String>) -> Self {
        Self::new(status, Shape::Text(text.into()))
    }

    /// The same refusal, with the pause that it asks for.
    pub(crate) const fn after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Returns the body and its type.
    pub(crate) fn body(&self) -> (&'static str, String) {
        match &self.shape {
            Shape::Machines {
                error,
                status: Some(code),
            } => (
                "application/json",
                json!({"error": error, "status": code}).to_string(),
            ),
            Shape::Machines {
                error,
                status: None,
            } => ("application/json", json!({"error": error}).to_string()),
            Shape::Apps(message) => ("application/json", json!({"message": message}).to_string()),
            Shape::Text(text) => ("text/plain; charset=utf-8", text.clone()),
        }
    }
}
