//! Web servers in front of PHP-FPM: each with its own access log, over a unix socket to PHP.

use super::Place;
use crate::stage;
use std::{fs, path::PathBuf, process::Command};

/// Writes a configuration into the server's directory.
fn write(place: &Place, name: &str, text: &str) -> PathBuf {
    let path = place.directory.join(name);
    fs::write(&path, text).expect("configuration");
    path
}

/// PHP-FPM with two workers, which any user may ask.
fn php(place: &Place) -> Command {
    let directory = place.directory.display();
    let text = format!(
        "[global]\nerror_log = {directory}/php.log\ndaemonize = no\n\
         [www]\nuser = root\ngroup = root\nlisten = {directory}/php.sock\nlisten.mode = 0666\n\
         pm = static\npm.max_children = 2\nenv[TRUTH_LOG] = {directory}/php-truth.log\n"
    );
    let config = write(place, "php.conf", &text);
    let mut command = Command::new(&place.components[1]);
    command.args(["--nodaemonize", "--allow-to-run-as-root", "--fpm-config"]).arg(config);
    command
}

fn index() -> PathBuf {
    stage::workload("servers/php/index.php")
}

pub(super) fn nginx(place: &Place) -> Vec<Command> {
    let (directory, log, port) = (place.directory.display(), place.log(), place.port);
    fs::create_dir(place.directory.join("tmp")).expect("folder for nginx");
    let (log, index) = (log.display(), index());
    let text = format!(
        "daemon off;\nworker_processes 2;\nuser root;\npid {directory}/nginx.pid;\nerror_log {directory}/error.log;\n\
         events {{}}\n\
         http {{\n\
         log_format truth '$request_uri $request_method $status $content_length $body_bytes_sent';\n\
         access_log {log} truth;\n\
         client_body_temp_path {directory}/tmp/body;\nproxy_temp_path {directory}/tmp/proxy;\n\
         fastcgi_temp_path {directory}/tmp/fastcgi;\nuwsgi_temp_path {directory}/tmp/uwsgi;\n\
         scgi_temp_path {directory}/tmp/scgi;\n\
         server {{\nlisten 127.0.0.1:{port};\n\
         location / {{\nfastcgi_pass unix:{directory}/php.sock;\n\
         fastcgi_param SCRIPT_FILENAME {index};\nfastcgi_param REQUEST_METHOD $request_method;\n\
         fastcgi_param REQUEST_URI $request_uri;\nfastcgi_param CONTENT_TYPE $content_type;\n\
         fastcgi_param CONTENT_LENGTH $content_length;\n}}\n}}\n}}\n",
        index = index.display()
    );
    let mut command = Command::new(place.component());
    command.arg("-p").arg(&place.directory).arg("-c").arg(write(place, "nginx.conf", &text));
    vec![php(place), command]
}

pub(super) fn apache(place: &Place) -> Vec<Command> {
    let (directory, log, index) = (place.directory.display(), place.log(), index());
    let (log, folder) = (log.display(), index.parent().expect("a folder").display());
    let modules: String = ["mpm_event", "authz_core", "alias", "proxy", "proxy_fcgi"]
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
        .concat();
    let text = format!(
        "{modules}ServerRoot {directory}\nPidFile {directory}/apache.pid\nErrorLog {directory}/error.log\n\
         DefaultRuntimeDir {directory}\nServerName localhost\nListen 127.0.0.1:{port}\nUser www-data\nGroup www-data\n\
         DocumentRoot {folder}\nAliasMatch ^/ {index}\n\
         <Directory {folder}>\nRequire all granted\n</Directory>\n\
         <Files index.php>\nSetHandler \"proxy:unix:{directory}/php.sock|fcgi://localhost\"\n</Files>\n\
         LogFormat \"%U %m %>s %{{Content-Length}}i %B\" truth\nCustomLog {log} truth\n",
        port = place.port,
        index = index.display()
    );
    let mut command = Command::new(place.component());
    command.arg("-f").arg(write(place, "apache.conf", &text)).arg("-DFOREGROUND");
    vec![php(place), command]
}

pub(super) fn caddy(place: &Place) -> Vec<Command> {
    let (directory, log, index) = (place.directory.display(), place.log(), index());
    let (log, folder) = (log.display(), index.parent().expect("a folder").display());
    let text = format!(
        "{{\nadmin off\nauto_https off\npersist_config off\n}}\n\
         http://:{port} {{\nbind 127.0.0.1\nroot * {folder}\n\
         log {{\noutput file {log}\nformat json\n}}\n\
         rewrite * /index.php\nphp_fastcgi unix/{directory}/php.sock\n}}\n",
        port = place.port
    );
    let mut command = Command::new(place.component().join("caddy"));
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(write(place, "Caddyfile", &text));
    command.env("XDG_DATA_HOME", &place.directory).env("XDG_CONFIG_HOME", &place.directory);
    vec![php(place), command]
}
