//! What tells series apart.

use crate::model::{Service, Span};
use hashbrown::Equivalent;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Names a series of a request metric. Two processes never share one: the service holds the instance.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(in crate::export) struct Key {
    pub(in crate::export) service: ServiceKey,
    pub(in crate::export) server_address: Box<str>,
    pub(in crate::export) server_port: u16,
    pub(in crate::export) route: Option<Box<str>>,
    pub(in crate::export) method: &'static str,
    pub(in crate::export) status: u16,
}

/// A service, ordered and compared by content.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::export) struct ServiceKey(pub(in crate::export) Arc<Service>);

impl ServiceKey {
    fn parts(&self) -> (&str, &str, &str, &str) {
        let service = &self.0;
        (&service.namespace, &service.name, &service.instance_id, &service.language)
    }
}

impl Ord for ServiceKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl PartialOrd for ServiceKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// A span as the key of its series: looks a series up without allocating.
pub(in crate::export) struct KeyOf<'a>(pub(in crate::export) &'a Span);

impl KeyOf<'_> {
    pub(in crate::export) fn to_key(&self) -> Key {
        let http = &self.0.http;
        Key {
            service: ServiceKey(Arc::clone(&self.0.service)),
            server_address: http.server_address.clone(),
            server_port: http.server_port,
            route: http.route.clone(),
            method: http.method,
            status: http.status,
        }
    }
}

impl Hash for KeyOf<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let http = &self.0.http;
        hash(
            state,
            &self.0.service,
            &http.server_address,
            http.server_port,
            http.route.as_deref(),
            http.method,
            http.status,
        );
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash(
            state,
            &self.service.0,
            &self.server_address,
            self.server_port,
            self.route.as_deref(),
            self.method,
            self.status,
        );
    }
}

/// One function for both, so that they can't differ.
fn hash<H: Hasher>(
    state: &mut H,
    service: &Service,
    address: &str,
    port: u16,
    route: Option<&str>,
    method: &str,
    status: u16,
) {
    // The rest of the service follows from its instance, or else `equivalent` tells them apart.
    (&service.instance_id, &service.name, address, port, route, method, status).hash(state);
}

impl Equivalent<Arc<Key>> for KeyOf<'_> {
    fn equivalent(&self, key: &Arc<Key>) -> bool {
        let http = &self.0.http;
        (Arc::ptr_eq(&key.service.0, &self.0.service) || key.service.0 == self.0.service)
            && key.status == http.status
            && key.method == http.method
            && key.server_port == http.server_port
            && key.server_address == http.server_address
            && key.route == http.route
    }
}
