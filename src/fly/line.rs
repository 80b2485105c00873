//! The way to one of the platform's services: its address, and in tests what stands in for it.

use crate::http::{Answer, Http, HttpError, Request};

/// The way to one service.
#[derive(Debug)]
pub(super) struct Line {
    end: End,
    /// What the address has after its host.
    prefix: String,
}

#[derive(Debug)]
enum End {
    Http(Http),
    /// Answers in memory, so that waits can be tested in virtual time.
    #[cfg(test)]
    Script(std::sync::Arc<super::tests::Script>),
}

impl Line {
    /// Returns the way to the service at `url`.
    pub(super) fn to(url: &str) -> Result<Self, HttpError> {
        let parsed = url::Url::parse(url).map_err(|_| HttpError::BadUrl)?;
        let is_plain = parsed.query().is_none() && parsed.fragment().is_none();
        if !matches!(parsed.scheme(), "http" | "https") || !parsed.has_host() || !is_plain {
            return Err(HttpError::BadUrl);
        }
        Ok(Self {
            end: End::Http(Http::new(url)?),
            prefix: parsed.path().trim_end_matches('/').to_owned(),
        })
    }

    #[cfg(test)]
    pub(super) fn scripted(script: std::sync::Arc<super::tests::Script>) -> Self {
        Self {
            end: End::Script(script),
            prefix: String::new(),
        }
    }

    pub(super) async fn exchange(&self, request: Request<'_>) -> Result<Answer, HttpError> {
        let path = format!("{}{}", self.prefix, request.path_and_query);
        let request = Request {
            path_and_query: &path,
            ..request
        };
        match &self.end {
            End::Http(http) => http.exchange(request).await,
            #[cfg(test)]
            End::Script(script) => script.answer(&request).await,
        }
    }
}
