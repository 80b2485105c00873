//! Findings about Fly.io: the token, the organisation and its bills, the app and its addresses. Pure.

use jiff::{Timestamp, ToSpan as _};

use super::{
    Finding,
    facts::{FlyFacts, Inside, Look, TokenFacts},
};
use crate::{
    config::{FlyDriver, Source},
    fly::{
        FlyError, TokenLimits,
        resources::{App, AppLookup, BillingStatus, IpAssignment, IpKind, Organisation},
    },
    provision::ProvisionError,
};

const TOKEN: &str = "token";
const ORGANISATION: &str = "org";
const BILLING: &str = "billing";
const APP: &str = "app";
const ADDRESSES: &str = "ips";

/// What makes everything as the configuration says.
pub(super) const PROVISION: &str = "run `onsave provision`";

/// A token that ends sooner is worth a thought.
const TOKEN_DAYS: i64 = 14;

/// Returns whether there is no app yet, as far as anybody knows: nothing can be said of what is in it.
pub(super) fn has_no_app(facts: &FlyFacts) -> bool {
    match facts.look.as_ref().map(|look| &look.app) {
        Some(Ok(AppLookup::Free | AppLookup::TakenByOthers)) => true,
        Some(Ok(AppLookup::Ours(_))) => false,
        Some(Err(_)) | None => facts.record.is_none(),
    }
}

pub(super) fn findings(facts: &FlyFacts) -> Vec<Finding> {
    let mut findings = vec![token(facts)];
    if let Some(look) = &facts.look {
        if let Ok(organisations) = &look.organisations {
            findings.extend(organisation(facts, look, organisations));
            findings.extend(billing(facts, look, organisations));
        }
        // What keeps every call from being answered is told once.
        let is_told = match (&look.organisations, &look.app) {
            (Err(told), Err(error)) => told.reason() == error.reason(),
            _ => false,
        };
        if !is_told {
            findings.push(app(facts, &look.app));
        }
        findings.extend(look.inside.as_ref().map(addresses));
    } else if facts.record.is_some() {
        findings.push(Finding::ok(
            APP,
            format!(
                "{} was made from here; without a token it is not looked at",
                facts.app
            ),
        ));
    }
    findings
}

/// Returns the finding about a call to the platform that failed.
pub(super) fn unanswered(topic: &'static str, error: &FlyError) -> Finding {
    Finding::error(topic, error, error.hint())
}

fn token(facts: &FlyFacts) -> Finding {
    let (origin, limits) = match &facts.token {
        TokenFacts::Missing => return no_token(facts),
        TokenFacts::Unusable(error) => return Finding::error(TOKEN, error, error.hint()),
        TokenFacts::Given { origin, limits } => (origin, limits),
    };
    if let Some(finding) = ending(*limits, facts.now) {
        return finding;
    }
    let reached = facts.look.as_ref().map(|look| &look.organisations);
    let organisations = match reached {
        Some(Err(error)) => return unanswered(TOKEN, error),
        Some(Ok(organisations)) => organisations.as_slice(),
        None => &[],
    };
    if limits.only_reads {
        let what =
            format!("the token of {origin} may only read: nothing can be made or mended with it");
        let fix = "make one with `fly tokens create org`, and put it there";
        return Finding::warning(TOKEN, what, fix);
    }
    let slugs: Vec<&str> = organisations.iter().map(|o| o.slug.as_str()).collect();
    match slugs.as_slice() {
        [] => Finding::broken(
            TOKEN,
            format!("the token of {origin} reaches no organisation"),
            "make one with `fly tokens create org`, and put it there",
        ),
        [one] => Finding::ok(TOKEN, format!("{origin}; reaches 1 organisation: {one}")),
        all => {
            let (count, names) = (all.len(), all.join(", "));
            Finding::ok(
                TOKEN,
                format!("{origin}; reaches {count} organisations: {names}"),
            )
        }
    }
}

fn no_token(facts: &FlyFacts) -> Finding {
    let error = ProvisionError::NoToken;
    let fix = error.hint().unwrap_or_default();
    if facts.target.driver == FlyDriver::Flyctl {
        let what = "none; flyctl has its own, and what is on Fly.io is not looked at here";
        return Finding::warning(TOKEN, what, fix);
    }
    if facts.record.is_some() {
        let what = "none; publishing goes on without, and what is on Fly.io is not looked at";
        return Finding::warning(TOKEN, what, fix);
    }
    Finding::broken(TOKEN, error.to_string(), fix)
}

/// Returns the finding about a token that is at its end.
fn ending(limits: TokenLimits, now: Timestamp) -> Option<Finding> {
    let seconds = i64::try_from(limits.expires?).ok()?;
    // Later than any time that can be named is never.
    let expires = Timestamp::from_second(seconds).ok()?;
    let fix = "make one with `fly tokens create org`; those in flyctl's own files last minutes";
    if expires <= now {
        let what = format!("the token expired at {expires}");
        return Some(Finding::broken(TOKEN, what, fix));
    }
    let soon = now.checked_add((TOKEN_DAYS * 24).hours()).ok()?;
    let what = format!("the token expires at {expires}");
    (expires < soon).then(|| Finding::warning(TOKEN, what, fix))
}

/// Returns the organisation that the app is in, or that it would be made in.
fn slug_of<'a>(
    facts: &'a FlyFacts,
    look: &'a Look,
    reached: &'a [Organisation],
) -> Option<&'a str> {
    let app = match &look.app {
        Ok(AppLookup::Ours(app)) => Some(app.organization.slug.as_str()),
        _ => None,
    };
    let configured = facts.target.organisation.as_deref();
    let only = match reached {
        [one] => Some(one.slug.as_str()),
        _ => None,
    };
    app.or(configured).or(only)
}

fn organisation(facts: &FlyFacts, look: &Look, reached: &[Organisation]) -> Option<Finding> {
    let configured = facts.target.organisation.as_deref();
    match (&look.app, configured) {
        (Ok(AppLookup::Ours(app)), Some(configured))
            // The token's own word for the user's organisation, whatever that is called.
            if configured != "personal" && app.organization.slug != configured =>
        {
            let actual = &app.organization.slug;
            Some(Finding::warning(
                ORGANISATION,
                format!("the app is in {actual}, and fly.org is {configured}"),
                format!("set fly.org = \"{actual}\", or move the app at https://fly.io/dashboard"),
            ))
        }
        (Ok(AppLookup::Ours(app)), _) => {
            Some(Finding::ok(ORGANISATION, app.organization.slug.clone()))
        }
        (_, Some(configured))
            if configured != "personal" && !reached.iter().any(|o| o.slug == configured) =>
        {
            Some(Finding::broken(
                ORGANISATION,
                format!("the token does not reach fly.org = {configured}"),
                "correct fly.org, or use a token of that organisation",
            ))
        }
        (_, Some(configured)) => Some(Finding::ok(ORGANISATION, configured)),
        (_, None) if reached.len() > 1 => Some(Finding::warning(
            ORGANISATION,
            "the token reaches several organisations, and none is chosen to make the app in",
            format!("set fly.org, for example to \"{}\"", reached[0].slug),
        )),
        (_, None) => reached
            .first()
            .map(|one| Finding::ok(ORGANISATION, one.slug.clone())),
    }
}

fn billing(facts: &FlyFacts, look: &Look, reached: &[Organisation]) -> Option<Finding> {
    let slug = slug_of(facts, look, reached)?;
    let known = reached.iter().find(|o| o.slug == slug);
    let only = match reached {
        [one] => Some(one),
        _ => None,
    };
    let known = known.or(only)?;
    Some(bills(&known.slug, known.billing.as_ref()))
}

fn bills(slug: &str, billing: Option<&BillingStatus>) -> Finding {
    let page = format!("https://fly.io/dashboard/{slug}/billing");
    let pay = format!("settle it at {page}");
    let card = format!("add a payment method at {page}");
    match billing {
        None => Finding::ok(
            BILLING,
            format!("the token may not see the bills of {slug}"),
        ),
        Some(BillingStatus::Current) => Finding::ok(BILLING, format!("all is well with {slug}")),
        Some(BillingStatus::PastDue) => Finding::warning(
            BILLING,
            format!("a bill of {slug} was not paid in time"),
            pay,
        ),
        Some(BillingStatus::Delinquent) => Finding::broken(
            BILLING,
            format!("bills of {slug} were not paid for long: its machines may be stopped"),
            pay,
        ),
        Some(BillingStatus::SourceRequired) => Finding::warning(
            BILLING,
            format!("{slug} has no way of payment: making machines may be refused"),
            card,
        ),
        Some(BillingStatus::Suspended) => {
            Finding::broken(BILLING, format!("{slug} is suspended"), pay)
        }
        Some(BillingStatus::TrialActive) => Finding::warning(
            BILLING,
            format!(
                "{slug} is on the free trial: its machines stop after five minutes, and it ends \
                 after two hours of machines or seven days"
            ),
            card,
        ),
        Some(BillingStatus::TrialEnded) => Finding::broken(
            BILLING,
            format!("the free trial of {slug} is over: no machine runs"),
            card,
        ),
        Some(BillingStatus::Other(word)) => Finding::warning(
            BILLING,
            format!("the state of {slug}'s bills is {word}, which this onsave does not know"),
            format!("look at {page}"),
        ),
    }
}

fn app(facts: &FlyFacts, lookup: &Result<AppLookup, FlyError>) -> Finding {
    let name = &facts.app;
    let was_made = facts.record.is_some();
    match lookup {
        Err(error) => unanswered(APP, error),
        Ok(AppLookup::Ours(app)) => ours(app),
        Ok(AppLookup::Free) => Finding::warning(
            APP,
            if was_made {
                format!("{name} was made from here, and is gone")
            } else {
                format!("there is no app {name} yet")
            },
            "the next publish makes it, and so does `onsave provision`",
        ),
        Ok(AppLookup::TakenByOthers) if was_made => Finding::broken(
            APP,
            format!("{name} was made from here, and the token may not use it"),
            "use a token of the organisation that it is in",
        ),
        Ok(AppLookup::TakenByOthers) => match &facts.target.app_source {
            Source::Variable(_) | Source::Flag(_) => Finding::broken(
                APP,
                format!("the name {name} is somebody else's"),
                "choose another name for app, or use a token of that app's organisation",
            ),
            Source::Default | Source::File(_) => Finding::warning(
                APP,
                format!("the name {name} is somebody else's"),
                "the next publish makes the app with a suffix to its name; or choose another name \
                 for app",
            ),
        },
    }
}

fn ours(app: &App) -> Finding {
    let (name, status) = (&app.name, &app.status);
    match status.as_str() {
        "suspended" => Finding::broken(
            APP,
            format!("{name} is suspended"),
            format!("see https://fly.io/apps/{name}: the bills, or a person, stopped it"),
        ),
        "" => Finding::ok(APP, name.clone()),
        _ => Finding::ok(APP, format!("{name}, {status}")),
    }
}

fn addresses(inside: &Inside) -> Finding {
    let ips = match &inside.ips {
        Ok(ips) => ips,
        Err(error) => return unanswered(ADDRESSES, error),
    };
    let serves = |kind| ips.iter().any(|ip| ip.serves(kind));
    match (serves(IpKind::V6), serves(IpKind::SharedV4)) {
        (true, true) => Finding::ok(ADDRESSES, told(ips)),
        (true, false) => Finding::warning(
            ADDRESSES,
            "there is no IPv4 address: many visitors cannot reach the app",
            PROVISION,
        ),
        (false, true) => Finding::warning(ADDRESSES, "there is no IPv6 address", PROVISION),
        (false, false) => Finding::broken(
            ADDRESSES,
            "there is no public address: nobody reaches the app",
            PROVISION,
        ),
    }
}

fn told(ips: &[IpAssignment]) -> String {
    let ips: Vec<String> = ips
        .iter()
        .map(|ip| format!("{}{}", ip.ip, if ip.shared { " (shared)" } else { "" }))
        .collect();
    ips.join(", ")
}
