//! Asking the public site, as a visitor would: any host, redirects followed, nothing signed.

use reqwest::{Client, Url, header::ETAG, redirect};

use super::{HttpError, Patience, broken, client_builder, is_loopback};

/// Redirects that are followed, at most.
const MAX_REDIRECTS: usize = 5;

/// Asks the public site, as a visitor would: any host, redirects followed.
#[derive(Debug, Clone)]
pub(crate) struct PublicHttp {
    client: Client,
}

/// What a `HEAD` of a public URL showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) status: u16,
    pub(crate) etag: Option<String>,
    /// The URL's path where the redirects ended.
    pub(crate) path: String,
}

impl PublicHttp {
    /// Returns a client for the site at `base`.
    pub(crate) fn new(base: &str) -> Result<Self, HttpError> {
        let base = Url::parse(base).map_err(|_| HttpError::BadUrl)?;
        let mut builder = client_builder(true).redirect(redirect::Policy::limited(MAX_REDIRECTS));
        if is_loopback(&base) {
            builder = builder.no_proxy();
        }
        Ok(Self {
            client: builder.build().map_err(HttpError::Invalid)?,
        })
    }

    /// Returns what `HEAD url` answers.
    pub(crate) async fn head(&self, url: &str) -> Result<Seen, HttpError> {
        let sending = self.client.head(url).send();
        let limit = Patience::PROMPT.answer;
        let response = tokio::time::timeout(limit, sending)
            .await
            .map_err(|_| HttpError::Stalled(limit))?
            .map_err(broken)?;
        let etag = response.headers().get(ETAG);
        Ok(Seen {
            status: response.status().as_u16(),
            etag: etag
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned),
            path: response.url().path().to_owned(),
        })
    }
}
