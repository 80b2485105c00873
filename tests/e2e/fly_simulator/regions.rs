//! The platform's regions.

use serde_json::{Value, json};

/// Code, name, part of the world, latitude and longitude; Sweden first, which is "nearest".
const REGIONS: &[(&str, &str, &str, f64, f64)] = &[
    ("arn", "Stockholm, Sweden", "europe", 59.651_9, 17.918_6),
    ("ams", "Amsterdam, Netherlands", "europe", 52.374_3, 4.895_2),
    ("bom", "Mumbai, India", "asia_pacific", 19.097, 72.872),
    ("cdg", "Paris, France", "europe", 48.86, 2.35),
    ("dfw", "Dallas, Texas (US)", "north_america", 32.778, -96.8),
    ("ewr", "Secaucus, NJ (US)", "north_america", 40.789, -74.056),
    ("fra", "Frankfurt, Germany", "europe", 50.116_7, 8.683_3),
    (
        "gru",
        "Sao Paulo, Brazil",
        "south_america",
        -23.549,
        -46.643,
    ),
    (
        "iad",
        "Ashburn, Virginia (US)",
        "north_america",
        39.02,
        -77.539,
    ),
    (
        "jnb",
        "Johannesburg, South Africa",
        "africa",
        -26.136,
        28.243,
    ),
    (
        "lax",
        "Los Angeles, California (US)",
        "north_america",
        33.942,
        -118.409,
    ),
    ("lhr", "London, United Kingdom", "europe", 51.516_8, -0.059),
    ("nrt", "Tokyo, Japan", "asia_pacific", 35.621, 139.743),
    (
        "ord",
        "Chicago, Illinois (US)",
        "north_america",
        41.891,
        -87.645,
    ),
    ("sin", "Singapore, Singapore", "asia_pacific", 1.3, 103.8),
    (
        "sjc",
        "San Jose, California (US)",
        "north_america",
        37.351,
        -121.896,
    ),
    ("syd", "Sydney, Australia", "asia_pacific", -33.866, 151.193),
    ("yyz", "Toronto, Canada", "north_america", 43.644, -79.418),
];

/// Returns whether there is such a region.
pub(crate) fn exists(code: &str) -> bool {
    REGIONS.iter().any(|(known, ..)| *known == code)
}

/// Returns all codes.
pub(crate) fn codes() -> impl Iterator<Item = &'static str> {
    REGIONS.iter().map(|(code, ..)| *code)
}

/// Returns the answer of the platform, with the capital letters that it has in truth.
pub(crate) fn listed() -> Value {
    let regions: Vec<Value> = REGIONS
        .iter()
        .map(|(code, name, part, latitude, longitude)| {
            json!({
                "code": code,
                "name": name,
                "geo_region": part,
                "latitude": latitude,
                "longitude": longitude,
                "gateway_available": true,
                "requires_paid_plan": false,
                "deprecated": false,
            })
        })
        .collect();
    json!({"Regions": regions, "Nearest": "arn"})
}
