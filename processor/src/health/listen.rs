//! `/healthz` and `/readyz`, where the settings want them.

use super::{
    Health,
    http::{Answer, Answering, serve},
};
use crate::{
    config::HealthConfig,
    explain::{Door, DoorError, open},
};
use std::{io, net::SocketAddr, sync::Arc};
use tokio::net::{TcpListener, UnixListener};

/// Why nobody can ask how we are.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// Somebody else listens there, or we may not.
    #[error("cannot listen on {address} for health checks ({source}): free it, or change {variable}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The variable that asked for it.
        variable: String,
        /// What the kernel says.
        source: io::Error,
    },
    /// The socket can't be made.
    #[error("health checks: {0}")]
    Door(#[from] DoorError),
    /// The runtime refuses the socket.
    #[error("health checks: {0}")]
    Runtime(#[from] io::Error),
}

/// Listens as the settings say, and serves until the runtime ends. The socket is removed when what this gives is dropped.
///
/// # Errors
/// [`HealthError`], here and now: a probe that nobody answers would end the pod.
pub async fn listen(config: &HealthConfig, health: &Health) -> Result<Option<Door>, HealthError> {
    if let Some(port) = config.port {
        let address = SocketAddr::new(config.listen_address, port);
        let failed = |source| HealthError::Listen { address, variable: config.port_variable.clone(), source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        drop(tokio::spawn(serve(listener, answering(health.clone()))));
    }
    let Some(path) = &config.unix_socket_path else { return Ok(None) };
    let door = open(path, "BEYLA_HEALTH_CHECK_UNIX_SOCKET_PATH")?;
    let listener = UnixListener::from_std(door.listener.try_clone()?)?;
    drop(tokio::spawn(serve(listener, answering(health.clone()))));
    Ok(Some(door))
}

fn answering(health: Health) -> Answering {
    Arc::new(move |target| {
        let answer = answer(&health, &target);
        Box::pin(std::future::ready(answer))
    })
}

pub(super) fn answer(health: &Health, target: &str) -> Answer {
    match target.split('?').next().unwrap_or_default() {
        // That this code runs is the answer.
        "/healthz" => Answer::text(200, "alive\n".to_owned()),
        "/readyz" => {
            let readiness = health.readiness();
            Answer::text(if readiness.is_ready() { 200 } else { 503 }, format!("{readiness}\n"))
        }
        _ => Answer::text(404, "there are /healthz and /readyz\n".to_owned()),
    }
}
