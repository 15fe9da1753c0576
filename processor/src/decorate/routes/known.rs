//! The routes of each service that are told: so many, and no more.
//!
//! Paths are written by strangers. A scanner asks for thousands that no service has, so what is answered by 404 or 405 gets
//! the least room.

use super::recent::Recent;
use crate::model::{KtimeNs, Service};
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};
use std::{hash::BuildHasher, sync::Arc, time::Duration};

/// Routes of one service. Large applications have several hundred.
pub(super) const MAX_ROUTES: usize = 1_000;

/// How many of these may have been seen only with an answer that there is nothing.
pub(super) const MAX_MISSING: usize = 100;

/// Text of all routes of all services, and what keeping one costs beside its text.
const MAX_BYTES: usize = 4 * 1024 * 1024;
const ENTRY_BYTES: usize = 64;

/// Services that are told apart; those beyond share their room.
const MAX_SERVICES: usize = 1_000;

/// A service whose room is used up gets it anew after so long: a flood must not spoil its routes for ever.
const RENEWAL: Duration = Duration::from_secs(3_600);

/// All services.
#[derive(Debug, Default)]
pub(super) struct Known {
    services: HashMap<u64, Routes>,
    /// Some of their routes by path, for whoever finds the same for a path each time.
    pub(super) recent: Recent,
    hasher: RandomState,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Routes {
    routes: HashSet<Arc<str>, RandomState>,
    missing: usize,
    bytes: usize,
    begun: KtimeNs,
}

impl Known {
    /// `route`, if `service` may have it. `is_missing`: it was answered that there is nothing.
    pub(super) fn admit(
        &mut self,
        service: &Service,
        route: &str,
        is_missing: bool,
        now: KtimeNs,
    ) -> Option<Arc<str>> {
        let key = self.key(service);
        let routes = self.services.entry(key).or_insert_with(|| Routes { begun: now, ..Routes::default() });
        if let Some(known) = routes.routes.get(route) {
            return Some(Arc::clone(known));
        }
        let cost = route.len() + ENTRY_BYTES;
        if routes.is_full(is_missing) || self.bytes + cost > MAX_BYTES {
            let freed = routes.renew(now);
            if freed > 0 {
                self.bytes -= freed;
                self.recent.clear();
            }
            return None;
        }
        self.bytes += cost;
        Some(routes.add(route, cost, is_missing))
    }

    fn key(&self, service: &Service) -> u64 {
        let key = self.hasher.hash_one((&service.namespace, &service.name));
        if self.services.len() < MAX_SERVICES || self.services.contains_key(&key) { key } else { 0 }
    }
}

impl Routes {
    fn is_full(&self, is_missing: bool) -> bool {
        self.routes.len() >= MAX_ROUTES || (is_missing && self.missing >= MAX_MISSING)
    }

    fn add(&mut self, route: &str, cost: usize, is_missing: bool) -> Arc<str> {
        let route: Arc<str> = route.into();
        self.routes.insert(Arc::clone(&route));
        self.missing += usize::from(is_missing);
        self.bytes += cost;
        route
    }

    /// Forgets everything if it is time; the bytes that became free.
    fn renew(&mut self, now: KtimeNs) -> usize {
        if u128::from(now.0.saturating_sub(self.begun.0)) < RENEWAL.as_nanos() {
            return 0;
        }
        let freed = self.bytes;
        *self = Self { begun: now, ..Self::default() };
        freed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str) -> Service {
        Service { name: name.to_owned(), ..Service::default() }
    }

    #[test]
    fn a_service_has_so_many_routes_and_no_more_for_an_hour() {
        let (mut known, shop) = (Known::default(), service("shop"));
        let hour = u64::try_from(RENEWAL.as_nanos()).expect("fits");
        for n in 0..MAX_ROUTES {
            assert!(known.admit(&shop, &format!("/{n}"), false, KtimeNs(1)).is_some());
        }
        assert_eq!(known.admit(&shop, "/new", false, KtimeNs(2)), None);
        assert_eq!(known.admit(&shop, "/0", false, KtimeNs(2)).as_deref(), Some("/0"));
        assert!(known.admit(&service("other"), "/new", false, KtimeNs(2)).is_some());
        assert_eq!(known.admit(&shop, "/new", false, KtimeNs(hour + 1)), None, "the last one");
        assert!(known.admit(&shop, "/new", false, KtimeNs(hour + 2)).is_some());
        let left: usize = known.services.values().map(|routes| routes.bytes).sum();
        assert_eq!(known.bytes, left);
    }

    #[test]
    fn a_scanner_does_not_take_the_room_of_what_is_there() {
        let (mut known, shop) = (Known::default(), service("shop"));
        let admitted = (0..10 * MAX_MISSING)
            .filter(|n| known.admit(&shop, &format!("/x{n}"), true, KtimeNs(1)).is_some());
        assert_eq!(admitted.count(), MAX_MISSING);
        assert!(known.admit(&shop, "/users", false, KtimeNs(1)).is_some());
        assert!(known.admit(&shop, "/users", true, KtimeNs(1)).is_some(), "it is known");
    }

    #[test]
    fn all_services_together_are_bounded_too() {
        let mut known = Known::default();
        let long = "x".repeat(600);
        for n in 0..2 * MAX_SERVICES {
            let service = service(&n.to_string());
            (0..20).for_each(|n| drop(known.admit(&service, &format!("/{long}/{n}"), false, KtimeNs(1))));
        }
        assert!(known.services.len() <= MAX_SERVICES + 1 && known.bytes <= MAX_BYTES, "{}", known.bytes);
    }
}
