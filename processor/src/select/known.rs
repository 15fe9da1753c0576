//! Every attribute that can be selected, and whether it is told unless the user says otherwise. As in OBI.

/// Section of the attributes of spans.
pub const TRACES: &str = "traces";

/// Section of the attributes of resources.
pub const RESOURCE: &str = "resource";

/// A name, and whether it is told by default.
pub(super) type Attribute = (&'static str, bool);

/// A metric, or a kind of telemetry.
pub(super) struct Section {
    pub(super) name: &'static str,
    groups: &'static [&'static [Attribute]],
}

impl Section {
    pub(super) fn attributes(&self) -> impl Iterator<Item = Attribute> {
        self.groups.iter().flat_map(|group| group.iter().copied())
    }
}

const SERVICE: &[Attribute] =
    &[("instance", true), ("job", true), ("service.name", true), ("service.namespace", true)];

const HTTP: &[Attribute] = &[
    ("http.request.method", true),
    ("http.response.status_code", true),
    ("http.route", true),
    ("server.address", true),
    ("server.port", true),
    ("url.path", false),
    ("url.scheme", true),
];

/// Of servers only: a client's own address says nothing.
const HTTP_SERVER: &[Attribute] = &[("client.address", false)];

const SERVER: &[&[Attribute]] = &[SERVICE, HTTP, HTTP_SERVER];
const CLIENT: &[&[Attribute]] = &[SERVICE, HTTP];

const SPAN: &[Attribute] = &[("url.query", true)];

const PROCESS: &[Attribute] = &[
    ("host.id", true),
    ("host.name", true),
    ("os.type", true),
    ("process.command_args", true),
    ("process.command_line", true),
    ("process.executable.name", true),
    ("process.executable.path", true),
    ("process.parent_pid", true),
    ("process.pid", true),
    ("service.instance.id", true),
    ("service.name", true),
    ("service.namespace", true),
    ("telemetry.distro.name", true),
    ("telemetry.distro.version", true),
    ("telemetry.sdk.language", true),
    ("telemetry.sdk.name", true),
    ("telemetry.sdk.version", true),
];

pub(super) const SECTIONS: [Section; 8] = [
    Section { name: "http.server.request.duration", groups: SERVER },
    Section { name: "http.server.request.body.size", groups: SERVER },
    Section { name: "http.server.response.body.size", groups: SERVER },
    Section { name: "http.client.request.duration", groups: CLIENT },
    Section { name: "http.client.request.body.size", groups: CLIENT },
    Section { name: "http.client.response.body.size", groups: CLIENT },
    Section { name: TRACES, groups: &[SPAN] },
    Section { name: RESOURCE, groups: &[PROCESS] },
];

/// All attributes of metrics are; of spans and resources only the ones above.
pub(super) fn is_selectable(section: &str, attribute: &str) -> bool {
    let is_open = [TRACES, RESOURCE].contains(&section);
    let mut sections = SECTIONS.iter().filter(|known| known.name == section);
    !is_open || sections.any(|known| known.attributes().any(|(name, _)| name == attribute))
}
