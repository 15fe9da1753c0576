//! Routes that were told before: most requests of a service ask for a few paths.

use crate::model::Service;
use foldhash::fast::RandomState;
use std::{hash::BuildHasher, sync::Arc};

/// Places, each for the last path that fell into it. With paths as long as allowed: 170 KiB.
const PLACES: usize = 1024;

/// Longer paths hold ids as a rule, and do not come again.
const MAX_PATH_BYTES: usize = 128;

/// The last routes of all services.
#[derive(Debug)]
pub(super) struct Recent {
    places: Vec<Option<Told>>,
    hasher: RandomState,
}

/// What a path of a service was told as.
#[derive(Clone, Debug)]
struct Told {
    /// Of service and path; the path alone is compared, too, since strangers write it.
    hash: u64,
    path: Box<str>,
    route: Arc<str>,
}

impl Default for Recent {
    fn default() -> Self {
        Self { places: vec![None; PLACES], hasher: RandomState::default() }
    }
}

impl Recent {
    pub(super) fn find(&self, service: &Service, path: &str) -> Option<&Arc<str>> {
        let hash = self.hash(service, path);
        let told = self.places.get(place(hash))?.as_ref()?;
        (told.hash == hash && *told.path == *path).then_some(&told.route)
    }

    pub(super) fn remember(&mut self, service: &Service, path: &str, route: &Arc<str>) {
        if path.len() > MAX_PATH_BYTES {
            return;
        }
        let hash = self.hash(service, path);
        if let Some(place) = self.places.get_mut(place(hash)) {
            *place = Some(Told { hash, path: path.into(), route: Arc::clone(route) });
        }
    }

    /// A service lost its routes.
    pub(super) fn clear(&mut self) {
        self.places.fill(None);
    }

    fn hash(&self, service: &Service, path: &str) -> u64 {
        self.hasher.hash_one((&*service.namespace, &*service.name, path))
    }
}

fn place(hash: u64) -> usize {
    usize::try_from(hash).unwrap_or_default() % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str) -> Service {
        Service { name: name.to_owned(), ..Service::default() }
    }

    #[test]
    fn a_path_has_the_route_that_its_own_service_told_it_as() {
        let (mut recent, long) = (Recent::default(), format!("/{}", "x".repeat(MAX_PATH_BYTES)));
        let (shop, other) = (service("shop"), service("other"));
        recent.remember(&shop, "/users/7", &"/users/*".into());
        recent.remember(&shop, &long, &"/*".into());
        assert_eq!(recent.find(&shop, "/users/7").map(|route| &**route), Some("/users/*"));
        for (service, path) in [(&shop, "/users/8"), (&other, "/users/7"), (&shop, long.as_str())] {
            assert_eq!(recent.find(service, path), None, "{path}");
        }
        recent.clear();
        assert_eq!(recent.find(&shop, "/users/7"), None);
    }

    #[test]
    fn so_many_paths_are_remembered_and_no_more() {
        let (mut recent, shop) = (Recent::default(), service("shop"));
        let paths: Vec<String> = (0..3 * PLACES).map(|n| format!("/{n}")).collect();
        paths.iter().for_each(|path| recent.remember(&shop, path, &path.as_str().into()));
        let found = paths.iter().filter_map(|path| Some((path, recent.find(&shop, path)?)));
        assert!(found.clone().all(|(path, route)| *path.as_str() == **route));
        assert!((1..=PLACES).contains(&found.count()));
    }
}
