//! Method and path → which operation of which app and which thing.

use super::refusal::Refusal;

/// Everything that can be asked for, and made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    TokenCurrent,
    Regions,
    Placements,
    AppList,
    AppCreate,
    AppGet,
    AppDelete,
    DeployToken,
    IpList,
    IpAssign,
    IpRelease,
    SecretsList,
    SecretsSet,
    SecretGet,
    SecretSet,
    SecretUnset,
    VolumeList,
    VolumeCreate,
    VolumeGet,
    VolumeUpdate,
    VolumeExtend,
    VolumeDelete,
    SnapshotList,
    SnapshotCreate,
    OrgVolumes,
    MachineList,
    MachineCreate,
    MachineGet,
    MachineUpdate,
    MachineDelete,
    MachineWait,
    MachineStart,
    MachineStop,
    MachineRestart,
    MachineCordon,
    MachineUncordon,
    MachineEvents,
    MachineVersions,
    MetadataGet,
    MetadataSet,
    LeaseTake,
    LeaseGet,
    LeaseRelease,
    CertificateList,
    CertificateCreate,
    CertificateGet,
    CertificateCheck,
    CertificateDelete,
    Organizations,
    OrganizationGet,
    GraphQl,
    RegistryCheck,
    BlobHead,
    BlobGet,
    UploadStart,
    UploadPut,
    ManifestHead,
    ManifestGet,
    ManifestPut,
}

/// A request whose path was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Routed {
    pub(crate) operation: Operation,
    /// The app's name, or what the operation is about where there is no app.
    pub(crate) app: String,
    /// The volume, machine, hostname, address or secret.
    pub(crate) id: String,
    /// The key of a machine's metadata.
    pub(crate) key: String,
}

impl Routed {
    fn new(operation: Operation, app: &str, id: &str) -> Self {
        Self {
            operation,
            app: app.to_owned(),
            id: id.to_owned(),
            key: String::new(),
        }
    }
}

/// Finds the operation of the Machines API. `path` has no query, and its segments are still encoded.
///
/// # Errors
///
/// The platform's own words when there is no such route.
pub(crate) fn machines_api(method: &str, path: &str) -> Result<Routed, Refusal> {
    let decoded: Vec<String> = path
        .trim_start_matches('/')
        .split('/')
        .map(|segment| {
            percent_encoding::percent_decode_str(segment)
                .decode_utf8_lossy()
                .into_owned()
        })
        .collect();
    let segments: Vec<&str> = decoded.iter().map(String::as_str).collect();
    let found = match segments.as_slice() {
        ["v1", "apps", app, "machines", rest @ ..] => of_machines(method, app, rest),
        ["v1", "apps", app, "volumes", rest @ ..] => of_volumes(method, app, rest),
        ["v1", "apps", app, rest @ ..] => of_app(method, app, rest),
        ["v1", rest @ ..] => of_platform(method, rest),
        _ => None,
    };
    found.ok_or_else(|| Refusal::text(404, "404 page not found"))
}

fn of_platform(method: &str, rest: &[&str]) -> Option<Routed> {
    use Operation as O;
    let (operation, app) = match (method, rest) {
        ("GET", ["tokens", "current"]) => (O::TokenCurrent, ""),
        ("GET", ["platform", "regions"]) => (O::Regions, ""),
        ("POST", ["platform", "placements"]) => (O::Placements, ""),
        ("GET", ["apps"]) => (O::AppList, ""),
        ("POST", ["apps"]) => (O::AppCreate, ""),
        ("GET", ["orgs", org, "volumes"]) => (O::OrgVolumes, *org),
        _ => return None,
    };
    Some(Routed::new(operation, app, ""))
}

fn of_app(method: &str, app: &str, rest: &[&str]) -> Option<Routed> {
    use Operation as O;
    let (operation, id) = match (method, rest) {
        ("GET", []) => (O::AppGet, ""),
        ("DELETE", []) => (O::AppDelete, ""),
        ("POST", ["deploy_token"]) => (O::DeployToken, ""),
        ("GET", ["ip_assignments"]) => (O::IpList, ""),
        ("POST", ["ip_assignments"]) => (O::IpAssign, ""),
        ("DELETE", ["ip_assignments", ip]) => (O::IpRelease, *ip),
        ("GET", ["secrets"]) => (O::SecretsList, ""),
        ("POST", ["secrets"]) => (O::SecretsSet, ""),
        ("GET", ["secrets", name]) => (O::SecretGet, *name),
        ("POST", ["secrets", name]) => (O::SecretSet, *name),
        ("DELETE", ["secrets", name]) => (O::SecretUnset, *name),
        ("GET", ["certificates"]) => (O::CertificateList, ""),
        ("POST", ["certificates", "acme"]) => (O::CertificateCreate, ""),
        ("GET", ["certificates", host]) => (O::CertificateGet, *host),
        ("POST", ["certificates", host, "check"]) => (O::CertificateCheck, *host),
        ("DELETE", ["certificates", host]) => (O::CertificateDelete, *host),
        _ => return None,
    };
    Some(Routed::new(operation, app, id))
}

fn of_volumes(method: &str, app: &str, rest: &[&str]) -> Option<Routed> {
    use Operation as O;
    let (operation, id) = match (method, rest) {
        ("GET", []) => (O::VolumeList, ""),
        ("POST", []) => (O::VolumeCreate, ""),
        ("GET", [id]) => (O::VolumeGet, *id),
        ("PUT", [id]) => (O::VolumeUpdate, *id),
        ("PUT", [id, "extend"]) => (O::VolumeExtend, *id),
        ("DELETE", [id]) => (O::VolumeDelete, *id),
        ("GET", [id, "snapshots"]) => (O::SnapshotList, *id),
        ("POST", [id, "snapshots"]) => (O::SnapshotCreate, *id),
        _ => return None,
    };
    Some(Routed::new(operation, app, id))
}

fn of_machines(method: &str, app: &str, rest: &[&str]) -> Option<Routed> {
    use Operation as O;
    if let (_, [id, "metadata", key]) = (method, rest) {
        return (method == "POST").then(|| Routed {
            key: (*key).to_owned(),
            ..Routed::new(O::MetadataSet, app, id)
        });
    }
    let (operation, id) = match (method, rest) {
        ("GET", []) => (O::MachineList, ""),
        ("POST", []) => (O::MachineCreate, ""),
        ("GET", [id]) => (O::MachineGet, *id),
        ("POST", [id]) => (O::MachineUpdate, *id),
        ("DELETE", [id]) => (O::MachineDelete, *id),
        ("GET", [id, "wait"]) => (O::MachineWait, *id),
        ("POST", [id, "start"]) => (O::MachineStart, *id),
        ("POST", [id, "stop"]) => (O::MachineStop, *id),
        ("POST", [id, "restart"]) => (O::MachineRestart, *id),
        ("POST", [id, "cordon"]) => (O::MachineCordon, *id),
        ("POST", [id, "uncordon"]) => (O::MachineUncordon, *id),
        ("GET", [id, "events"]) => (O::MachineEvents, *id),
        ("GET", [id, "versions"]) => (O::MachineVersions, *id),
        ("GET", [id, "metadata"]) => (O::MetadataGet, *id),
        ("POST", [id, "lease"]) => (O::LeaseTake, *id),
        ("GET", [id, "lease"]) => (O::LeaseGet, *id),
        ("DELETE", [id, "lease"]) => (O::LeaseRelease, *id),
        _ => return None,
    };
    Some(Routed::new(operation, app, id))
}

impl Operation {
    /// Returns whether refusals of the operation have the shape of apps, addresses and certificates.
    pub(crate) const fn is_of_apps(self) -> bool {
        matches!(
            self,
            Self::AppList
                | Self::AppCreate
                | Self::AppGet
                | Self::AppDelete
                | Self::DeployToken
                | Self::IpList
                | Self::IpAssign
                | Self::IpRelease
                | Self::CertificateList
                | Self::CertificateCreate
                | Self::CertificateGet
                | Self::CertificateCheck
                | Self::CertificateDelete
        )
    }
}

#[test]
fn paths_are_understood_or_there_is_no_such_page() {
    let found = machines_api("POST", "/v1/apps/a/machines/m/metadata/k").unwrap();
    assert_eq!(
        (
            found.operation,
            found.app.as_str(),
            found.id.as_str(),
            found.key.as_str()
        ),
        (Operation::MetadataSet, "a", "m", "k")
    );
    let found = machines_api("GET", "/v1/apps/a/certificates/%2A.example.com").unwrap();
    assert_eq!(found.id, "*.example.com");
    for (method, path) in [
        ("GET", "/apps"),
        ("PUT", "/v1/apps"),
        ("GET", "/v1/apps/a/machines/m/nothing"),
    ] {
        let refused = machines_api(method, path).unwrap_err();
        assert_eq!(
            (refused.status, refused.body().1.as_str()),
            (404, "404 page not found")
        );
    }
}
