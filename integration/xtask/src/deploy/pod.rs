//! The pod of deploy/kubernetes as OCI bundles: what a kubelet and containerd would make of its manifest.

use super::{
    manifest::{documents, object},
    seccomp::{self, Flavour},
};
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::{fmt::Write, fs, path::Path};

/// Where the guest makes the pod.
const HOME: &str = "/var/lib/pod";
/// As containerd and every other runtime mount them.
const MASKED: [&str; 10] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/proc/scsi",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Writes `<folder>/<container>/config.json` for each container, and `<folder>/pod.sh` with what the guest makes around them.
pub fn write(manifest: &Path, profile: &Path, folder: &Path) -> anyhow::Result<()> {
    let documents = documents(&fs::read_to_string(manifest)?)?;
    let pod = &object(&documents, "DaemonSet")?["spec"]["template"]["spec"];
    let profile: Value = serde_json::from_slice(&fs::read(profile).context("reading the seccomp profile")?)?;
    for container in list(pod, "containers") {
        let bundle = folder.join(text(container, "name")?);
        fs::create_dir_all(&bundle)?;
        for (file, flavour) in [("config.json", Flavour::Containerd), ("old.json", Flavour::Old)] {
            let config = config(pod, container, &profile, flavour)?;
            fs::write(bundle.join(file), serde_json::to_vec_pretty(&config)?)?;
        }
    }
    Ok(fs::write(folder.join("pod.env"), environment(pod)?)?)
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> anyhow::Result<&'a str> {
    value[key].as_str().with_context(|| format!("{key} is missing in {value}"))
}

fn config(pod: &Value, container: &Value, profile: &Value, flavour: Flavour) -> anyhow::Result<Value> {
    let security = &container["securityContext"];
    let name = text(container, "name")?;
    ensure!(security["privileged"] == false, "{name} is privileged");
    ensure!(security["capabilities"]["drop"] == json!(["ALL"]), "{name} keeps default capabilities");
    ensure!(security["seccompProfile"]["type"] == "RuntimeDefault", "{name} has another seccomp profile");
    let capabilities: Vec<String> = list(&security["capabilities"], "add")
        .map(|name| Ok(format!("CAP_{}", name.as_str().context("a capability is no string")?)))
        .collect::<anyhow::Result<_>>()?;
    let memory = bytes(text(&container["resources"]["limits"], "memory")?)?;
    Ok(json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": security["runAsUser"], "gid": security["runAsGroup"]},
            "args": arguments(container)?,
            "env": variables(container)?,
            "cwd": "/",
            // neither inheritable nor ambient: who is not root gets them by the capabilities of the file
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            "noNewPrivileges": security["allowPrivilegeEscalation"] == false,
        },
        "root": {"path": format!("{HOME}/{name}/rootfs"), "readonly": security["readOnlyRootFilesystem"]},
        "hostname": "pod",
        "mounts": mounts(container)?,
        "linux": {
            "namespaces": namespaces(pod),
            "cgroupsPath": format!("/pod/{name}"),
            "resources": {"memory": {"limit": memory}},
            "seccomp": seccomp::resolved(profile, &capabilities, flavour)?,
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
        },
    }))
}

/// The image's entry point is the binary.
fn arguments(container: &Value) -> anyhow::Result<Vec<Value>> {
    let image = text(container, "image")?;
    let binary = image.split(':').next().unwrap_or(image);
    let given = list(container, "args").cloned();
    Ok([json!(format!("/usr/local/bin/{binary}"))].into_iter().chain(given).collect())
}

fn variables(container: &Value) -> anyhow::Result<Vec<String>> {
    let mut variables = vec!["PATH=/usr/local/bin".to_owned()];
    for entry in list(container, "env") {
        variables.push(format!("{}={}", text(entry, "name")?, text(entry, "value")?));
    }
    Ok(variables)
}

/// `hostPID` leaves the node's; the network is the pod's, made by the guest.
fn namespaces(pod: &Value) -> Vec<Value> {
    let mut namespaces = vec![
        json!({"type": "mount"}),
        json!({"type": "ipc"}),
        json!({"type": "uts"}),
        json!({"type": "cgroup"}),
        json!({"type": "network", "path": format!("{HOME}/network")}),
    ];
    if pod["hostPID"] != true {
        namespaces.push(json!({"type": "pid"}));
    }
    namespaces
}

fn mounts(container: &Value) -> anyhow::Result<Vec<Value>> {
    let mount = |place: &str, kind: &str, options: &[&str]| json!({"destination": place, "type": kind, "source": kind, "options": options});
    let mut mounts = vec![
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        mount("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
    ];
    for volume in list(container, "volumeMounts") {
        let access = if volume["readOnly"] == true { "ro" } else { "rw" };
        mounts.push(json!({
            "destination": volume["mountPath"], "type": "bind",
            "source": format!("{HOME}/volumes/{}", text(volume, "name")?), "options": ["rbind", "rprivate", access],
        }));
    }
    Ok(mounts)
}

/// What the guest's script needs to know: volumes, and where the kubelet would ask.
fn environment(pod: &Value) -> anyhow::Result<String> {
    let mut script = String::from("volumes=(");
    for volume in list(pod, "volumes") {
        let size = bytes(text(&volume["emptyDir"], "sizeLimit")?)?;
        write!(script, "{}:{size} ", text(volume, "name")?)?;
    }
    script.push_str(")\n");
    for container in list(pod, "containers") {
        for (probe, variable) in [("livenessProbe", "liveness"), ("readinessProbe", "readiness")] {
            if let Some(path) = container[probe]["httpGet"]["path"].as_str() {
                let wanted = &container[probe]["httpGet"]["port"];
                let port = list(container, "ports").find(|port| port["name"] == *wanted);
                let port = port.with_context(|| format!("{probe} asks at a port that is not declared"))?;
                writeln!(script, "{variable}={}{path}", port["containerPort"])?;
            }
        }
    }
    Ok(script)
}

/// `64Mi`.
fn bytes(quantity: &str) -> anyhow::Result<u64> {
    let mebibytes: u64 = quantity.strip_suffix("Mi").context("a quantity is not in Mi")?.parse()?;
    Ok(mebibytes << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Value {
        let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/kubernetes/ratatosk.yaml");
        let documents = documents(&fs::read_to_string(place).expect("the manifest")).expect("objects");
        object(&documents, "DaemonSet").expect("a DaemonSet")["spec"]["template"]["spec"].clone()
    }

    fn container(pod: &Value, number: usize) -> anyhow::Result<Value> {
        let profile = json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "syscalls": []});
        config(pod, &pod["containers"][number], &profile, Flavour::Containerd)
    }

    #[test]
    fn containers_get_what_the_manifest_gives_and_no_more() {
        let pod = pod();
        let loader = container(&pod, 0).expect("the loader");
        let four = json!(["CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"]);
        assert_eq!(loader["process"]["capabilities"]["permitted"], four);
        assert_eq!(loader["process"]["user"], json!({"uid": 64100, "gid": 64101}));
        assert_eq!(loader["process"]["args"][0], "/usr/local/bin/ratatosk-loader");
        let processor = container(&pod, 1).expect("the processor");
        assert_eq!(processor["process"]["capabilities"]["bounding"], json!([]));
        assert_eq!(processor["linux"]["resources"]["memory"]["limit"], 512 << 20);
        for container in [&loader, &processor] {
            assert_eq!(container["process"]["noNewPrivileges"], true);
            assert_eq!(container["root"]["readonly"], true);
            let namespaces = container["linux"]["namespaces"].to_string();
            assert!(!namespaces.contains("\"pid\""), "hostPID: {namespaces}");
        }
        let socket = processor["mounts"]
            .as_array()
            .expect("mounts")
            .iter()
            .find(|m| m["destination"] == "/run/ratatosk");
        assert_eq!(socket.expect("the socket's volume")["options"], json!(["rbind", "rprivate", "ro"]));
    }

    #[test]
    fn the_guest_learns_volumes_and_probes() {
        let script = environment(&pod()).expect("a script");
        assert!(script.starts_with("volumes=(socket:1048576 explain:1048576 )\n"), "{script}");
        assert!(script.contains("liveness=8998/healthz\nreadiness=8998/readyz\n"), "{script}");
    }

    #[test]
    fn a_manifest_that_asks_for_more_is_refused() {
        for (key, value) in [("privileged", json!(true)), ("capabilities", json!({"add": ["BPF"]}))] {
            let mut pod = pod();
            pod["containers"][0]["securityContext"][key] = value;
            assert!(container(&pod, 0).is_err(), "{key}");
        }
    }
}
