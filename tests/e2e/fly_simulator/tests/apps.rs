//! Tokens, organisations, apps, addresses, secrets, volumes and certificates.

use serde_json::{Value, json};

use super::asking::{APP, create_app, create_volume, of_app, started, with_app};
use crate::{
    fly_simulator::{
        ApiClient, Delays, DnsRecords, ORGANIZATION_TOKEN, Options, READ_ONLY_TOKEN, USER_TOKEN,
    },
    harness::eventually,
};

#[test]
fn who_asks_is_known_by_the_token() {
    let (simulator, client) = started(&Options::default());
    let (status, body) = client.get("/v1/tokens/current");
    assert_eq!(
        (status, &body["tokens"][0]["org_slug"]),
        (200, &json!("personal"))
    );

    let user = ApiClient::new(&simulator.api_url(), USER_TOKEN);
    assert_eq!(user.get("/v1/tokens/current").1, json!({"tokens": []}));

    let stranger = ApiClient::new(&simulator.api_url(), "fm2_unknown");
    let (status, body) = stranger.get("/v1/tokens/current");
    assert_eq!(status, 401);
    assert_eq!(
        body,
        json!({"error": "Authenticate: token validation error"})
    );
    let (status, body) = stranger.get("/v1/apps/x");
    assert_eq!(
        (status, body),
        (401, json!({"message": "Unauthorized"})),
        "the other shape"
    );

    simulator.revoke(ORGANIZATION_TOKEN);
    assert_eq!(client.get("/v1/tokens/current").0, 401);
}

#[test]
fn a_macaroon_is_taken_with_either_scheme_and_among_others() {
    let (simulator, _) = started(&Options::default());
    let address = simulator.api_url().replace("http://", "").parse().unwrap();
    let status = |authorization: &str| {
        let request = crate::harness::http::Request {
            method: "GET",
            target: "/v1/tokens/current",
            headers: vec![("authorization", authorization.to_owned())],
            body: &[],
        };
        let mut connection = crate::harness::http::Connection::open(address).unwrap();
        let answer = connection.send(&request).unwrap();
        assert!(answer.header("fly-request-id").is_some());
        answer.status
    };
    assert_eq!(status(&format!("Bearer {ORGANIZATION_TOKEN}")), 200);
    assert_eq!(
        status(&format!("FlyV1 fm2_other,{ORGANIZATION_TOKEN}")),
        200
    );
    assert_eq!(
        status(&format!("FlyV1 FlyV1 {ORGANIZATION_TOKEN}")),
        401,
        "a prefix twice"
    );
    assert_eq!(status(&format!("FlyV1 {USER_TOKEN}")), 401, "no macaroon");
    assert_eq!(status(ORGANIZATION_TOKEN), 401);
}

#[test]
fn a_read_only_token_reads() {
    let (simulator, client) = with_app();
    let reader = ApiClient::new(&simulator.api_url(), READ_ONLY_TOKEN);
    assert_eq!(reader.get(&of_app("volumes")).0, 200);
    assert_eq!(
        reader
            .post("/v1/apps", &json!({"name": "b", "org_slug": "personal"}))
            .0,
        403
    );
    assert_eq!(
        reader
            .post(&of_app("secrets"), &json!({"values": {"A": "b"}}))
            .0,
        403
    );
    assert_eq!(client.get("/v1/apps/b").0, 404, "nothing was made");
}

#[test]
fn a_deploy_token_is_for_one_app() {
    let (simulator, client) = with_app();
    let made = client.done("POST", &of_app("deploy_token"), &json!({"expiry": "1h"}));
    let token = made["token"]
        .as_str()
        .unwrap()
        .strip_prefix("FlyV1 ")
        .unwrap();
    let deployer = ApiClient::new(&simulator.api_url(), token);
    assert_eq!(deployer.get(&of_app("volumes")).0, 200);
    assert_eq!(
        deployer
            .post("/v1/apps", &json!({"name": "b", "org_slug": "personal"}))
            .0,
        403
    );
    let (_, body) = deployer.get("/v1/tokens/current");
    assert_eq!(body["tokens"][0]["apps"], json!([APP]));
}

#[test]
fn organisations_are_listed_by_both_older_ways() {
    let (simulator, _) = started(&Options {
        organizations: vec!["personal", "our-company"],
        ..Options::default()
    });
    simulator.set_billing_status("TRIAL_ACTIVE");
    let user = ApiClient::new(&simulator.older_api_url(), USER_TOKEN);
    let (_, body) = user.get("/api/v1/organizations?admin=false");
    assert_eq!(body["organizations"][1]["slug"], "our-company");
    assert_eq!(body["organizations"][1]["billing_status"], "TRIAL_ACTIVE");
    assert_eq!(
        user.get("/api/v1/organizations/our-company").1["raw_slug"],
        "our-company"
    );
    assert_eq!(user.get("/api/v1/organizations/nobody").0, 404);

    let query = json!({"query": "{organizations{nodes{slug}} viewer{... on User{email}}}"});
    let (_, body) = user.post("/graphql", &query);
    assert_eq!(
        body["data"]["organizations"]["nodes"][1]["slug"],
        "our-company"
    );
    assert_eq!(body["data"]["viewer"]["email"], "me@example.com");
    let (status, body) =
        ApiClient::new(&simulator.older_api_url(), "fo1_unknown").post("/graphql", &query);
    assert_eq!(status, 200, "GraphQL fails with 200");
    assert!(body["errors"][0]["message"].is_string());

    let of_one = ApiClient::new(&simulator.older_api_url(), ORGANIZATION_TOKEN);
    let (_, body) = of_one.get("/api/v1/organizations");
    assert_eq!(body["organizations"].as_array().unwrap().len(), 1);
    assert_eq!(user.get("/api/v2/nothing").0, 404);
}

#[test]
fn an_app_is_made_found_listed_and_deleted() {
    let (_simulator, client) = started(&Options::default());
    assert_eq!(client.get("/v1/apps/my-site").0, 404, "the name is free");
    let body = json!({"name": APP, "org_slug": "personal", "idempotency_key": "k"});
    let (status, made) = client.post("/v1/apps", &body);
    assert_eq!(status, 201);
    assert_eq!(
        client.post("/v1/apps", &body),
        (201, made.clone()),
        "the same key finds it"
    );
    let (status, again) = client.post("/v1/apps", &json!({"name": APP, "org_slug": "personal"}));
    assert_eq!((status, &again["status"]), (422, &json!("name_taken")));

    let (_, app) = client.get("/v1/apps/my-site");
    assert_eq!(app["id"], made["id"]);
    assert_eq!(app["organization"]["slug"], "personal");
    let (_, listed) = client.get("/v1/apps?org_slug=personal");
    assert_eq!(
        (&listed["total_apps"], &listed["apps"][0]["name"]),
        (&json!(1), &json!(APP))
    );
    assert_eq!(client.get("/v1/apps?org_slug=nobody").0, 404);

    assert_eq!(
        client.call("DELETE", "/v1/apps/my-site", &Value::Null).0,
        202
    );
    assert_eq!(client.get("/v1/apps/my-site").0, 404);
    let (status, body) = client.get("/v1/apps/my-site/machines");
    assert_eq!(status, 400, "machines of an app that is gone: {body}");
}

#[test]
fn a_name_of_somebody_else_is_taken() {
    let (simulator, client) = started(&Options::default());
    simulator.take_name("their-site");
    assert_eq!(client.get("/v1/apps/their-site").0, 403);
    let body = json!({"name": "their-site", "org_slug": "personal"});
    assert_eq!(client.post("/v1/apps", &body).0, 422);
    for wrong in ["Upper", "a_b", "-a", "a-", "a b"] {
        let body = json!({"name": wrong, "org_slug": "personal"});
        assert_eq!(client.post("/v1/apps", &body).0, 422, "{wrong}");
    }
    assert_eq!(
        client
            .post("/v1/apps", &json!({"name": "", "org_slug": "personal"}))
            .0,
        400
    );
    assert_eq!(
        client
            .post("/v1/apps", &json!({"name": "a", "org_slug": "nobody"}))
            .0,
        404
    );
    assert_eq!(client.call("POST", "/v1/apps", &json!("no object")).0, 400);
}

#[test]
fn what_was_written_is_seen_later_when_asked_for() {
    let (simulator, client) = started(&Options {
        delays: Delays::eventual(),
        ..Options::default()
    });
    create_app(&client);
    assert_eq!(client.get("/v1/apps/my-site").0, 404);
    eventually("the app is found", || {
        client.get("/v1/apps/my-site").0 == 200
    });
    let version =
        client.done("POST", &of_app("secrets"), &json!({"values": {"A": "b"}}))["version"].clone();
    let asked = of_app(&format!("secrets?min_version={version}"));
    assert_eq!(client.get(&asked).0, 412);
    eventually("the secrets are seen", || client.get(&asked).0 == 200);
    assert_eq!(
        simulator.simulated_delay(),
        std::time::Duration::from_millis(400)
    );
}

#[test]
fn addresses_are_assigned_once_and_released() {
    let (_simulator, client) = with_app();
    let path = of_app("ip_assignments");
    assert_eq!(client.get(&path).1, json!({"ips": []}));
    let six = client.done("POST", &path, &json!({"type": "v6"}));
    let four = client.done("POST", &path, &json!({"type": "shared_v4"}));
    assert_eq!(
        (&six["shared"], &four["shared"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(client.post(&path, &json!({"type": "v6"})).0, 409);
    assert_eq!(client.post(&path, &json!({"type": "v5"})).0, 400);
    let (status, body) = client.post(&path, &json!({"type": "v4", "org_slug": "personal"}));
    assert_eq!(status, 400, "{body}");
    assert_eq!(client.get(&path).1["ips"].as_array().unwrap().len(), 2);
    let one = format!("{path}/{}", six["ip"].as_str().unwrap());
    assert_eq!(client.call("DELETE", &one, &Value::Null).0, 204);
    assert_eq!(client.call("DELETE", &one, &Value::Null).0, 404);
}

#[test]
fn secrets_are_written_and_never_read() {
    let (simulator, client) = with_app();
    let path = of_app("secrets");
    let set = client.done(
        "POST",
        &path,
        &json!({"values": {"SYNC_SECRET": "very-secret", "B": "b"}}),
    );
    assert_eq!(set["version"], 1);
    let set = client.done("POST", &path, &json!({"values": {"B": null}}));
    assert_eq!(set["version"], 2);
    let (_, listed) = client.get(&path);
    assert_eq!(listed["secrets"].as_array().unwrap().len(), 1);
    assert_eq!(listed["secrets"][0]["name"], "SYNC_SECRET");
    assert!(!listed.to_string().contains("very-secret"));
    let digest = listed["secrets"][0]["digest"].clone();
    let (status, one) = client.post(&of_app("secrets/SYNC_SECRET"), &json!({"value": "another"}));
    assert_eq!((status, &one["version"]), (201, &json!(3)));
    assert_ne!(one["digest"], digest, "another value has another digest");
    assert_eq!(
        client.get(&of_app("secrets/SYNC_SECRET")).1["digest"],
        one["digest"]
    );
    let removed = client.done("DELETE", &of_app("secrets/SYNC_SECRET"), &Value::Null);
    assert_eq!(removed["version"], 4);
    assert_eq!(client.get(&of_app("secrets/SYNC_SECRET")).0, 404);
    for wrong in [
        json!({}),
        json!({"values": {}}),
        json!({"values": {"1A": "x"}}),
        json!({"values": {"A": 1}}),
    ] {
        assert_eq!(client.post(&path, &wrong).0, 400, "{wrong}");
    }
    let debug = format!("{simulator:?}");
    assert!(
        !debug.contains("another"),
        "a simulator that is shown shows no secret"
    );
}

#[test]
fn a_volume_lives() {
    let (simulator, client) = with_app();
    let id = create_volume(&client);
    let path = of_app(&format!("volumes/{id}"));
    eventually("the volume is created", || {
        client.get(&path).1["state"] == "created"
    });
    let (_, listed) = client.get(&of_app("volumes"));
    assert_eq!(listed[0]["attached_machine_id"], "");
    assert_eq!(
        client.get("/v1/orgs/personal/volumes").1["volumes"][0]["app_name"],
        APP
    );
    assert_eq!(client.get("/v1/orgs/nobody/volumes").0, 403);

    let extend = format!("{path}/extend");
    assert_eq!(
        client.call("PUT", &extend, &json!({"size_gb": 1})).0,
        400,
        "it only grows"
    );
    let extended = client.done("PUT", &extend, &json!({"size_gb": 2}));
    assert_eq!(
        (&extended["volume"]["size_gb"], &extended["needs_restart"]),
        (&json!(2), &json!(false))
    );
    let kept = client.done(
        "PUT",
        &path,
        &json!({"snapshot_retention": 14, "auto_backup_enabled": false}),
    );
    assert_eq!(
        (&kept["snapshot_retention"], &kept["auto_backup_enabled"]),
        (&json!(14), &json!(false))
    );

    assert_eq!(client.get(&format!("{path}/snapshots")).1, json!([]));
    client.done("POST", &format!("{path}/snapshots"), &Value::Null);
    assert_eq!(
        client.get(&format!("{path}/snapshots")).1[0]["retention_days"],
        14
    );

    client.done("DELETE", &path, &Value::Null);
    assert_eq!(
        client.get(&of_app("volumes")).1[0]["state"],
        "pending_destroy",
        "still listed"
    );
    assert_eq!(client.call("PUT", &extend, &json!({"size_gb": 3})).0, 422);
    simulator.set_volume_use((APP, &id), 1 << 30);
    assert_eq!(client.get(&path).1["bytes_used"], 1 << 30);
    assert!(simulator.volume_folder(&id).ends_with(&id));
}

#[test]
fn a_volume_is_refused_by_name_region_size_and_room() {
    let (simulator, client) = with_app();
    let path = of_app("volumes");
    let create = |change: Value| {
        let mut body = json!({"name": "site_data", "region": "arn", "size_gb": 1});
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        client.post(&path, &body)
    };
    for wrong in [
        json!({"name": "site-data"}),
        json!({"name": "Site"}),
        json!({"name": "a".repeat(31)}),
        json!({"size_gb": 501}),
        json!({"snapshot_retention": 0}),
    ] {
        assert_eq!(create(wrong.clone()).0, 422, "{wrong}");
    }
    assert_eq!(create(json!({"region": "europe"})).0, 400);
    assert_eq!(create(json!({"compute": {"cpus": 3}})).0, 400);
    simulator.fill_region("arn");
    assert_eq!(create(json!({})), (400, json!({"error": "no capacity"})));
    let ask = json!({"org_slug": "personal"});
    let (_, placements) = client.post("/v1/platform/placements", &ask);
    let regions: Vec<&str> = placements["regions"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|region| region["region"].as_str())
        .collect();
    assert!(!regions.contains(&"arn") && regions.contains(&"ams"));
    assert_eq!(
        client
            .post("/v1/platform/placements", &json!({"org_slug": "nobody"}))
            .0,
        400
    );
    simulator.free_region("arn");
    assert_eq!(create(json!({})).1["size_gb"], 1);
    let nobody = ApiClient::new(&simulator.api_url(), "");
    assert_eq!(
        nobody.get("/v1/platform/regions").1["Nearest"],
        "arn",
        "everybody may ask"
    );
}

#[test]
fn a_certificate_is_issued_when_the_name_points_here() {
    let (simulator, client) = with_app();
    let six = client.done("POST", &of_app("ip_assignments"), &json!({"type": "v6"}));
    let four = client.done(
        "POST",
        &of_app("ip_assignments"),
        &json!({"type": "shared_v4"}),
    );
    let create =
        |hostname: &str| client.post(&of_app("certificates/acme"), &json!({"hostname": hostname}));
    let (status, made) = create("example.com");
    assert_eq!(
        (status, &made["status"]),
        (201, &json!("pending_validation"))
    );
    assert_eq!(made["dns_requirements"]["a"], json!([four["ip"]]));
    assert_eq!(made["dns_requirements"]["aaaa"], json!([six["ip"]]));
    assert_eq!(made["dns_requirements"]["cname"], "my-site.fly.dev");
    assert_eq!(create("example.com").0, 422, "twice");
    assert_eq!(create("nonsense").0, 422);

    let check = of_app("certificates/example.com/check");
    let (_, checked) = client.post(&check, &Value::Null);
    assert_eq!(
        (&checked["configured"], &checked["dns_records"]["a"]),
        (&json!(false), &json!([]))
    );
    let text = |value: &Value| vec![value["ip"].as_str().unwrap().to_owned()];
    simulator.set_dns(
        "example.com",
        DnsRecords {
            a: text(&four),
            aaaa: text(&six),
            cname: None,
        },
    );
    let (_, checked) = client.post(&check, &Value::Null);
    assert_eq!(
        (&checked["configured"], &checked["status"]),
        (&json!(true), &json!("active"))
    );
    assert_eq!(
        client.get(&of_app("certificates/example.com")).1["certificates"][0]["status"],
        "active"
    );

    assert_eq!(create("*.example.com").0, 201);
    let wildcard = of_app("certificates/%2A.example.com");
    let (_, detail) = client.get(&wildcard);
    assert_eq!(
        detail["dns_requirements"]["acme_challenge"]["name"],
        "_acme-challenge.example.com"
    );
    assert_eq!(client.get(&of_app("certificates")).1["total_count"], 2);
    assert_eq!(client.call("DELETE", &wildcard, &Value::Null).0, 204);
    assert_eq!(client.get(&wildcard).0, 404);

    create("www.example.com");
    simulator.set_dns(
        "www.example.com",
        DnsRecords {
            cname: Some("my-site.fly.dev".to_owned()),
            ..DnsRecords::default()
        },
    );
    let (_, checked) = client.post(&of_app("certificates/www.example.com/check"), &Value::Null);
    assert_eq!(checked["status"], "active");
}

#[test]
fn requests_are_noted_and_limited() {
    let (simulator, client) = started(&Options {
        has_limits: true,
        ..Options::default()
    });
    create_app(&client);
    let statuses: Vec<u16> = (0..5).map(|_| client.get("/v1/apps/my-site").0).collect();
    assert_eq!(statuses[..3], [200; 3]);
    let refused = client.ask("GET", "/v1/apps/my-site", &Value::Null).unwrap();
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (429, Some("1"))
    );
    let writes = simulator.writes();
    assert_eq!(writes.len(), 1);
    assert_eq!(
        (
            writes[0].method.as_str(),
            writes[0].path.as_str(),
            writes[0].status
        ),
        ("POST", "/v1/apps", 201)
    );
    assert_eq!(writes[0].body["name"], APP);
    assert_eq!(simulator.requests().len(), 7);
    simulator.forget_requests();
    assert_eq!(simulator.requests(), []);
    assert_eq!(client.get("/v1/nothing").1, json!("404 page not found"));
}
