//! Which regions have room.

use serde_json::json;

use super::{Scripted, error, say};
use crate::fly::resources::Region;

const ROOM: &str = "POST /v1/platform/placements";

fn region(code: &str) -> Region {
    Region {
        code: code.into(),
        name: String::new(),
        latitude: 0.0,
        longitude: 0.0,
    }
}

#[tokio::test(start_paused = true)]
async fn those_with_room_stay_in_their_order() {
    let answer = r#"{"regions":[{"region":"fra","count":3},{"region":"cdg","count":0},{"region":"ams","count":1}]}"#;
    let scripted = Scripted::new(vec![(ROOM, say(200, answer))]);
    let [ams, cdg, fra, waw] = ["ams", "cdg", "fra", "waw"].map(region);
    let guest = json!({"cpu_kind": "shared"});
    let asked = [&ams, &cdg, &fra, &waw];
    let found = scripted.fly.with_room("ann", &guest, &asked).await.unwrap();
    assert_eq!(found, [&ams, &fra]);
    assert_eq!(
        scripted.made()[0].body,
        json!({"org_slug": "ann", "compute": guest, "count": 0, "region": "ams,cdg,fra,waw"})
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_an_error() {
    let scripted = Scripted::new(vec![(ROOM, error(403, "no"))]);
    let fra = region("fra");
    let found = scripted.fly.with_room("ann", &json!({}), &[&fra]).await;
    found.unwrap_err();
    scripted.made();
}
