//! What tells series apart.

use super::attributes::{Attribute, AttributeSet};
use crate::model::{Service, Span};
use hashbrown::Equivalent;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

/// Names a series of a request metric. What does not tell the series of its table apart is empty, or never looked at.
#[derive(Clone, Debug)]
pub(in crate::export) struct Key {
    identity: AttributeSet,
    service: Arc<Service>,
    pub(in crate::export) server_address: Box<str>,
    pub(in crate::export) server_port: u16,
    pub(in crate::export) route: Option<Arc<str>>,
    pub(in crate::export) method: &'static str,
    pub(in crate::export) status: u16,
    pub(in crate::export) path: Box<str>,
    pub(in crate::export) client: Option<IpAddr>,
}

/// What is compared, in the order in which series are told. One function makes it of both, so that they can't differ.
#[derive(Eq, Hash, Ord, PartialEq, PartialOrd)]
struct Parts<'a> {
    service: Identity<'a>,
    server_address: &'a str,
    server_port: u16,
    route: Option<&'a str>,
    method: &'a str,
    status: u16,
    path: &'a str,
    client: Option<IpAddr>,
}

/// Which process. Unless descriptions are compared, two of one process are one: its language may have been found later.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(in crate::export) struct Identity<'a> {
    namespace: &'a str,
    name: &'a str,
    instance_id: &'a str,
    description: Description<'a>,
}

/// The rest of what a resource says. It is no part of the hash: few instances have more than one.
#[derive(Clone, Copy, Debug)]
struct Description<'a>(Option<&'a Service>);

/// What is compared of it.
type Facts<'a> = (&'a str, u32, &'a str, &'a [(String, String)]);

impl<'a> Description<'a> {
    fn facts(self) -> Option<Facts<'a>> {
        let service = self.0?;
        Some((
            service.language.as_str(),
            service.pid,
            service.executable.as_str(),
            service.attributes.as_slice(),
        ))
    }

    fn is_same(self, other: Self) -> bool {
        self.0.zip(other.0).is_some_and(|(a, b)| std::ptr::eq(a, b))
    }
}

impl PartialEq for Description<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(*other) || self.facts() == other.facts()
    }
}

impl Eq for Description<'_> {}

impl Ord for Description<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.facts().cmp(&other.facts())
    }
}

impl PartialOrd for Description<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Of an instance there is one name: hashing that too would tell nothing apart.
impl Hash for Identity<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        if self.instance_id.is_empty() {
            (self.namespace, self.name).hash(state);
        } else {
            self.instance_id.hash(state);
        }
    }
}

impl<'a> Identity<'a> {
    pub(super) fn new(service: &'a Service, identity: AttributeSet) -> Self {
        let text = |attribute, text: &'a str| if identity.has(attribute) { text } else { "" };
        Self {
            namespace: text(Attribute::ServiceNamespace, &service.namespace),
            name: text(Attribute::ServiceName, &service.name),
            instance_id: text(Attribute::Instance, &service.instance_id),
            description: Description(Some(service).filter(|_| identity.has(Attribute::Description))),
        }
    }
}

impl Key {
    /// The process that it is about.
    pub(in crate::export) fn identity(&self) -> Identity<'_> {
        Identity::new(&self.service, self.identity)
    }

    /// A process that it is about: any of them, where several are counted together.
    pub(in crate::export) fn service(&self) -> &Arc<Service> {
        &self.service
    }

    fn parts(&self) -> Parts<'_> {
        Parts {
            service: self.identity(),
            server_address: &self.server_address,
            server_port: self.server_port,
            route: self.route.as_deref(),
            method: self.method,
            status: self.status,
            path: &self.path,
            client: self.client,
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Key {}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

/// A span as the key of its series: looks a series up without allocating.
pub(in crate::export) struct KeyOf<'a> {
    span: &'a Span,
    identity: AttributeSet,
    parts: Parts<'a>,
}

impl<'a> KeyOf<'a> {
    pub(super) fn new(span: &'a Span, identity: AttributeSet) -> Self {
        let http = &span.http;
        let has = |attribute| identity.has(attribute);
        let text = |attribute, text: &'a str| if has(attribute) { text } else { "" };
        let parts = Parts {
            service: Identity::new(&span.service, identity),
            server_address: text(Attribute::ServerAddress, &http.server_address),
            server_port: if has(Attribute::ServerPort) { http.server_port } else { 0 },
            route: http.route.as_deref().filter(|_| has(Attribute::Route)),
            method: text(Attribute::Method, http.method),
            status: if has(Attribute::Status) { http.status } else { 0 },
            path: text(Attribute::Path, &http.path),
            client: has(Attribute::ClientAddress).then(|| span.peer.ip()),
        };
        Self { span, identity, parts }
    }

    pub(super) fn to_key(&self) -> Key {
        let (parts, http) = (&self.parts, &self.span.http);
        Key {
            identity: self.identity,
            service: Arc::clone(&self.span.service),
            server_address: parts.server_address.into(),
            server_port: parts.server_port,
            route: http.route.clone().filter(|_| parts.route.is_some()),
            method: if parts.method.is_empty() { "" } else { http.method },
            status: parts.status,
            path: parts.path.into(),
            client: parts.client,
        }
    }
}

impl Hash for KeyOf<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts.hash(state);
    }
}

impl Equivalent<Arc<Key>> for KeyOf<'_> {
    fn equivalent(&self, key: &Arc<Key>) -> bool {
        self.parts == key.parts()
    }
}
