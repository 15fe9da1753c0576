//! What compilers and runtimes leave in an executable, each seen in real ones (loader/tests/languages).

use ratatosk_abi::Language;

/// Beginnings of names of sections that only one compiler makes.
pub(super) const SECTIONS: [(&[u8], Language); 5] = [
    (b".go.buildinfo", Language::Go),
    (b".note.go.buildid", Language::Go),
    (b".svm_heap", Language::Java),
    (b".bun", Language::Bun),
    (b"swift5_", Language::Swift),
];
/// Owner of the note with Go's build id.
pub(super) const GO_NOTE: &[u8] = b"Go";

/// Beginnings of what a runtime exports that is linked into its executable.
const EXPORTS: [(&[u8], Language); 8] = [
    (b"zend_startup", Language::Php),
    (b"php_request_startup", Language::Php),
    (b"DotNetRuntimeInfo", Language::Dotnet),
    (b"DotNetRuntimeDebugHeader", Language::Dotnet),
    (b"JNI_CreateJavaVM", Language::Java),
    (b"graal_create_isolate", Language::Java),
    (b"erts_", Language::Erlang),
    (b"erl_drv_", Language::Erlang),
];
/// Functions that only the `main` of an interpreter calls, its own or of its library. A program that embeds it calls others.
const ENTRIES: [(&[u8], Language); 8] = [
    (b"Py_BytesMain", Language::Python),
    (b"Py_Main", Language::Python),
    (b"pypy_main_startup", Language::Python),
    (b"ruby_run_node", Language::Ruby),
    (b"ruby_exec_node", Language::Ruby),
    (b"JLI_Launch", Language::Java),
    (b"mono_main", Language::Dotnet),
    // node::Start; other classes of Node.js are also exported by Bun
    (b"_ZN4node5Start", Language::Nodejs),
];

/// Bun and Deno export the interface of Node's addons.
pub(super) const ADDONS: &[u8] = b"napi_module_register";
/// Names of variables that each reads from its environment.
pub(super) const RUNTIMES_OF_ADDONS: [(&[u8], Language); 2] =
    [(b"BUN_INSTALL", Language::Bun), (b"DENO_DIR", Language::Deno)];

/// Line of rustc in `.comment`.
pub(super) const RUST_COMMENT: &[u8] = b"rustc version";
/// Path of Rust's library in its texts of panics.
pub(super) const RUST_TEXT: &[u8] = b"/rustc/";
/// Beginnings of mangled names, and what catches exceptions.
pub(super) const CPP_SYMBOLS: [&[u8]; 2] = [b"_Z", b"__gxx_personality"];
/// In the names of types of a C++ library that is linked in.
pub(super) const CPP_TEXT: &[u8] = b"__cxxabiv1";

/// The runtime of which a dynamic symbol tells; `is_own`: it is defined here.
pub(super) fn runtime(name: &[u8], is_own: bool) -> Option<Language> {
    let starts = |(mark, _): &&(&[u8], Language)| name.starts_with(mark);
    let export = EXPORTS.iter().find(starts).filter(|_| is_own);
    export.or_else(|| ENTRIES.iter().find(starts)).map(|(_, language)| *language)
}
