//! Regions, and which of them are near each other.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Fly,
    action::Action,
    call::Call,
    error::FlyError,
    resources::{Region, null_is_default},
};

/// The platform answers with capitalised keys; its description has lower-case ones.
#[derive(Deserialize)]
struct Regions {
    #[serde(default, alias = "Regions", deserialize_with = "null_is_default")]
    regions: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    #[serde(alias = "Code")]
    code: String,
    #[serde(default, alias = "Name", deserialize_with = "null_is_default")]
    name: String,
    #[serde(default, alias = "Latitude")]
    latitude: Option<f64>,
    #[serde(default, alias = "Longitude")]
    longitude: Option<f64>,
    #[serde(default, alias = "Deprecated", deserialize_with = "null_is_default")]
    deprecated: bool,
}

impl Fly {
    /// Returns the regions, without those that are given up; a place that is not told is not a number.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses.
    pub async fn regions(&self) -> Result<Vec<Region>, FlyError> {
        let call = Call::get(Action::ListRegions, "", "/v1/platform/regions".into());
        let regions: Regions = self.read(call).await?;
        Ok(regions
            .regions
            .into_iter()
            .filter(|row| !row.deprecated)
            .map(|row| Region {
                code: row.code,
                name: row.name,
                latitude: row.latitude.unwrap_or(f64::NAN),
                longitude: row.longitude.unwrap_or(f64::NAN),
            })
            .collect())
    }
}

/// Where the platform would put a machine.
#[derive(Deserialize)]
struct Placements {
    #[serde(default, deserialize_with = "null_is_default")]
    regions: Vec<Placement>,
}

#[derive(Deserialize)]
struct Placement {
    region: String,
    #[serde(default)]
    count: i64,
}

impl Fly {
    /// Returns those of `regions` that have room for such a machine, in the same order.
    ///
    /// The platform reckons; it keeps no room free.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses.
    pub async fn with_room<'a>(
        &self,
        organisation: &str,
        guest: &Value,
        regions: &[&'a Region],
    ) -> Result<Vec<&'a Region>, FlyError> {
        let codes: Vec<&str> = regions.iter().map(|region| region.code.as_str()).collect();
        let question = json!({
            "org_slug": organisation,
            "compute": guest,
            // How many each region could take, and not where one would go.
            "count": 0,
            "region": codes.join(","),
        });
        let path = "/v1/platform/placements".into();
        let call = Call::post(Action::FindRoom, organisation, path).json(&question);
        let found: Placements = self.read(call).await?;
        let has_room = |region: &&&Region| {
            let mut placements = found.regions.iter();
            placements.any(|placement| placement.region == region.code && placement.count > 0)
        };
        Ok(regions.iter().filter(has_room).copied().collect())
    }
}

/// Returns the other regions, the nearest to region `to` first; none when `to` is not among `all`.
#[must_use]
pub fn nearest_regions<'a>(to: &str, all: &'a [Region]) -> Vec<&'a Region> {
    let Some(from) = all.iter().find(|region| region.code == to) else {
        return Vec::new();
    };
    let mut others: Vec<(f64, &Region)> = all
        .iter()
        .filter(|region| region.code != to)
        .map(|region| (haversine(from, region), region))
        .filter(|(distance, _)| distance.is_finite())
        .collect();
    others.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    others.into_iter().map(|(_, region)| region).collect()
}

/// Returns a number that grows with the distance along a great circle.
fn haversine(a: &Region, b: &Region) -> f64 {
    let [from, to] = [a, b].map(|region| region.latitude.to_radians());
    let turn = (b.longitude - a.longitude).to_radians();
    ((to - from) / 2.0).sin().powi(2) + from.cos() * to.cos() * (turn / 2.0).sin().powi(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(code: &str, latitude: f64, longitude: f64) -> Region {
        Region {
            code: code.into(),
            name: String::new(),
            latitude,
            longitude,
        }
    }

    fn codes<'a>(to: &str, all: &'a [Region]) -> Vec<&'a str> {
        let nearest = nearest_regions(to, all);
        nearest.iter().map(|region| region.code.as_str()).collect()
    }

    #[test]
    fn near_is_measured_around_the_globe() {
        let all = [
            region("syd", -33.9, 151.2),
            region("lhr", 51.5, -0.5),
            region("arn", 59.7, 17.9),
            region("nrt", 35.6, 140.3),
            region("ams", 52.4, 4.9),
            region("lax", 33.9, -118.4),
            region("xxx", f64::NAN, 0.0),
        ];
        assert_eq!(codes("arn", &all), ["ams", "lhr", "nrt", "lax", "syd"]);
        // Over the date line it is nearer to Tokyo than over Europe.
        assert_eq!(codes("lax", &all), ["lhr", "nrt", "arn", "ams", "syd"]);
        assert_eq!(codes("nowhere", &all), [""; 0]);
    }
}
