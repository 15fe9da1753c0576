# The pod of deploy/kubernetes without a cluster: what a kubelet makes around containers, and crun, a real OCI runtime.
# pod.rs made the bundles (pod/<container>/config.json) and pod/pod.env from the manifest.

home=/var/lib/pod

# The pod's network, with a loopback as every pod has, and its volumes, which everybody may write.
pod_sandbox() {
	mkdir -p $home/volumes
	touch $home/network
	unshare --net=$home/network true
	nsenter --net=$home/network /run/busybox ip link set lo up
	local volume
	for volume in "${volumes[@]}"; do
		mkdir -p "$home/volumes/${volume%:*}"
		mount -t tmpfs -o "mode=0777,size=${volume#*:}" pod "$home/volumes/${volume%:*}"
	done
}

# An image of binary $2 for container $1: the binary, its libraries, nothing else.
image() {
	local root=$home/$1/rootfs file
	mkdir -p "$root"/{proc,sys,dev,etc,usr/local/bin,run}
	install -m 755 "target/release/$2" "$root/usr/local/bin/"
	for file in $(ldd "target/release/$2" | grep -o '/[^ ]*'); do
		mkdir -p "$root$(dirname "$file")"
		cp -L "$file" "$root$file"
	done
}

start() {
	cp "pod/$1/config.json" "$home/$1/config.json"
	crun run --detach --bundle "$home/$1" "$1" >>"$home/$1.log" 2>&1
}
pod_pid() { crun state "$1" | sed -n 's/^ *"pid": \([0-9]*\).*/\1/p'; }
is_running() { crun state "$1" | grep -q '"status": "running"'; }
is_gone() { ! is_running "$1"; }
# Asks as the kubelet does, from outside of the container: an address of the pod's that is not 127.0.0.1.
asks() { nsenter --net=$home/network curl -sf "http://127.0.0.9:$1"; }
counted() { nsenter --net=$home/network curl -sf http://127.0.0.1:8999/metrics | grep -c "^http_server_request_duration_seconds_count{.*http_route=\"/$1/\*\".*} $2\$"; }
has_counted() { (($(counted "$@") == 1)); }

the_pod_starts_and_gets_ready() {
	pod_sandbox
	image loader ratatosk-loader
	image processor ratatosk
	setcap cap_bpf,cap_perfmon,cap_sys_ptrace,cap_dac_read_search=ep $home/loader/rootfs/usr/local/bin/ratatosk-loader
	start loader
	start processor
	within 40 asks "$readiness"
	asks "$liveness"
	is_running loader && is_running processor
}

its_containers_have_what_the_manifest_says() {
	local loader processor
	loader=$(pod_pid loader) processor=$(pod_pid processor)
	[[ $(status $loader Uid) == 64100$'\t'* && $(status $processor Uid) == 64101$'\t'* ]]
	[[ $(status $loader CapBnd) == "$(mask cap_bpf cap_perfmon cap_sys_ptrace cap_dac_read_search)" ]]
	[[ $(status $loader CapEff) == "$(mask cap_sys_ptrace cap_dac_read_search)" ]]
	for set in CapEff CapPrm CapInh CapBnd CapAmb; do [[ $(status $processor $set) == "$(mask)" ]]; done
	for pid in $loader $processor; do
		[[ $(status $pid NoNewPrivs) == 1 && $(status $pid Seccomp) == 2 ]]
		grep -qE '^[0-9]+ [0-9]+ [0-9:]+ [^ ]+ / ro' /proc/$pid/mountinfo
		! nsenter --target $pid --mount --root true
	done
}

the_pod_tells_what_the_node_serves() {
	ask pod 10
	within 20 has_counted pod 10
	crun exec --user 64101:64101 processor ratatosk explain | grep nginx | grep -q observed
}

the_pod_goes_on_when_its_loader_is_restarted() {
	crun kill loader KILL
	within 10 is_gone loader
	crun delete loader
	start loader
	within 40 asks "$readiness"
	ask again 5
	within 20 has_counted again 5
}

the_pod_stops_cleanly() {
	crun kill processor TERM
	crun kill loader TERM
	within 10 is_gone processor
	within 10 is_gone loader
	crun delete processor
	crun delete loader
	! grep -E '(WARN|ERROR)' $home/processor.log | grep -v -e 'line to the loader broke' -e 'started anew'
	! grep -E '(WARN|ERROR)' $home/loader.log
}

an_old_profile_that_wants_sys_admin_for_bpf_is_named_as_the_cause() {
	cp pod/loader/old.json $home/loader/config.json
	local code=0
	timeout 30 crun run --bundle $home/loader loader >old.log 2>&1 || code=$?
	cat old.log
	[[ $code == 69 ]]
	grep -q 'a seccomp profile' old.log
}
