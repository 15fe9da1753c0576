//! Routes that were told before: most requests of a service ask for a few paths.

use super::guesses::MAX_PATH_BYTES;
use crate::{model::Service, places::Places};
use std::sync::Arc;

/// The last routes of all services. With paths as long as allowed: 170 KiB.
#[derive(Debug, Default)]
pub(super) struct Recent(Places<Told>);

/// What a path of a service was told as.
#[derive(Debug)]
struct Told {
    /// Of service and path; the path alone is compared, too, since strangers write it.
    hash: u64,
    path: Box<str>,
    route: Arc<str>,
}

impl Recent {
    pub(super) fn find(&self, service: &Service, path: &str) -> Option<&Arc<str>> {
        let hash = self.hash(service, path);
        let told = self.0.get(hash)?;
        (told.hash == hash && *told.path == *path).then_some(&told.route)
    }

    pub(super) fn remember(&mut self, service: &Service, path: &str, route: &Arc<str>) {
        if path.len() > MAX_PATH_BYTES {
            return;
        }
        let hash = self.hash(service, path);
        self.0.put(hash, Told { hash, path: path.into(), route: Arc::clone(route) });
    }

    /// A service lost its routes.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    fn hash(&self, service: &Service, path: &str) -> u64 {
        self.0.hash((&*service.namespace, &*service.name, path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::places::PLACES;

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
