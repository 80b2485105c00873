//! Organisations that a token reaches, and whether they can pay.
//!
//! The Machines API says what a token is for; the web API also knows names and bills, but is not
//! documented and not open to every token; GraphQL answers for people's own tokens. What one does not
//! tell, the next is asked.

use serde::Deserialize;
use serde_json::json;

use super::{
    Fly,
    action::{Action, Asked},
    call::{Call, parse},
    error::FlyError,
    refusal,
    resources::{BillingStatus, Organisation, null_is_default},
};

const QUERY: &str = "{ organizations { nodes { slug rawSlug name } } }";

#[derive(Deserialize)]
struct Tokens {
    #[serde(default, deserialize_with = "null_is_default")]
    tokens: Vec<TokenInfo>,
}

#[derive(Deserialize)]
struct TokenInfo {
    #[serde(default, deserialize_with = "null_is_default")]
    org_slug: String,
}

#[derive(Deserialize)]
struct WebList {
    #[serde(default, deserialize_with = "null_is_default")]
    organizations: Vec<WebOrganisation>,
}

/// One organisation, of the web API or of GraphQL.
#[derive(Deserialize)]
struct WebOrganisation {
    slug: String,
    /// The slug of a personal organisation is otherwise `personal`, for everybody.
    #[serde(default, alias = "rawSlug", deserialize_with = "null_is_default")]
    raw_slug: String,
    #[serde(default, deserialize_with = "null_is_default")]
    name: String,
    #[serde(default)]
    billing_status: Option<String>,
}

#[derive(Deserialize)]
struct GraphAnswer {
    data: Option<GraphData>,
    #[serde(default, deserialize_with = "null_is_default")]
    errors: Vec<GraphError>,
}

#[derive(Deserialize)]
struct GraphData {
    organizations: Option<GraphNodes>,
}

#[derive(Deserialize)]
struct GraphNodes {
    #[serde(default, deserialize_with = "null_is_default")]
    nodes: Vec<WebOrganisation>,
}

#[derive(Deserialize)]
struct GraphError {
    #[serde(default)]
    message: String,
}

impl Fly {
    /// Returns the organisations that the token reaches, with their bills where the token may see
    /// them.
    ///
    /// # Errors
    ///
    /// When no part of the platform tells: why the Machines API does not.
    pub async fn organisations(&self) -> Result<Vec<Organisation>, FlyError> {
        let (slugs, web) = tokio::join!(self.slugs_of_token(), self.web_organisations());
        let error = match slugs {
            Ok(slugs) if !slugs.is_empty() => {
                let known = web.unwrap_or_default();
                return Ok(slugs
                    .into_iter()
                    .map(|slug| described(slug, &known))
                    .collect());
            }
            Ok(_) => None,
            // What cannot be reached says nothing of the token.
            Err(error @ FlyError::NoAnswer { .. }) => return Err(error),
            Err(error) => Some(error),
        };
        if let Ok(known) = web
            && !known.is_empty()
        {
            return Ok(known.into_iter().map(WebOrganisation::into).collect());
        }
        match (self.graph_organisations().await, error) {
            (Ok(found), None) => Ok(found),
            (Ok(found), Some(_)) if !found.is_empty() => Ok(found),
            (_, Some(error)) | (Err(error), None) => Err(error),
        }
    }

    async fn slugs_of_token(&self) -> Result<Vec<String>, FlyError> {
        let call = Call::get(Action::ReadToken, "", "/v1/tokens/current".into());
        let tokens: Tokens = self.read(call).await?;
        let mut slugs = Vec::new();
        for TokenInfo { org_slug } in tokens.tokens {
            if !org_slug.is_empty() && !slugs.contains(&org_slug) {
                slugs.push(org_slug);
            }
        }
        Ok(slugs)
    }

    async fn web_organisations(&self) -> Result<Vec<WebOrganisation>, FlyError> {
        let path = "/api/v1/organizations?admin=false".into();
        let call = Call::get(Action::ListOrganisations, "", path).optional();
        Ok(self.read::<WebList>(call).await?.organizations)
    }

    async fn graph_organisations(&self) -> Result<Vec<Organisation>, FlyError> {
        let asked = Asked {
            action: Action::ListOrganisations,
            subject: String::new(),
        };
        let call = Call::post(asked.action, "", "/graphql".into())
            .json(&json!({"query": QUERY}))
            .on_web();
        let answer = self.call(call).await?;
        let said: GraphAnswer = parse(asked.clone(), &answer)?;
        if let Some(error) = said.errors.first() {
            let message = self.token.masked(&error.message);
            let refusal = refusal::spoken(&asked, &answer, &message);
            return Err(FlyError::Refused(Box::new(refusal)));
        }
        let nodes = said.data.and_then(|data| data.organizations);
        Ok(nodes
            .map(|nodes| nodes.nodes)
            .unwrap_or_default()
            .into_iter()
            .map(WebOrganisation::into)
            .collect())
    }
}

/// Returns what is known of the organisation with that slug.
fn described(slug: String, known: &[WebOrganisation]) -> Organisation {
    let found = known
        .iter()
        .find(|known| known.raw_slug == slug || known.slug == slug);
    Organisation {
        name: found
            .map(|known| known.name.clone())
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| slug.clone()),
        billing: found.and_then(WebOrganisation::billing),
        slug,
    }
}

impl WebOrganisation {
    fn billing(&self) -> Option<BillingStatus> {
        Some(match self.billing_status.as_deref()? {
            "" => return None,
            "CURRENT" => BillingStatus::Current,
            "PAST_DUE" => BillingStatus::PastDue,
            "DELINQUENT" => BillingStatus::Delinquent,
            "SOURCE_REQUIRED" => BillingStatus::SourceRequired,
            "SUSPENDED" => BillingStatus::Suspended,
            "TRIAL_ACTIVE" => BillingStatus::TrialActive,
            "TRIAL_ENDED" => BillingStatus::TrialEnded,
            other => BillingStatus::Other(other.to_owned()),
        })
    }
}

impl From<WebOrganisation> for Organisation {
    fn from(web: WebOrganisation) -> Self {
        let billing = web.billing();
        let slug = match web.raw_slug.as_str() {
            "" => web.slug,
            _ => web.raw_slug,
        };
        Self {
            name: match web.name.as_str() {
                "" => slug.clone(),
                _ => web.name,
            },
            billing,
            slug,
        }
    }
}
