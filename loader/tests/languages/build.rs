//! Programs that are compiled here: each says `ready` and waits on its stdin.

use super::programs::{Start, found};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const C: &str = r#"#include <dlfcn.h>
#include <stdio.h>
int main(int count, char **words)
{
	if (count > 1 && !dlopen(words[1], RTLD_NOW))
		return 1;
	puts("ready");
	fflush(stdout);
	return getchar() == 0;
}
"#;
const CPP: &str = r#"#include <iostream>
#include <stdexcept>
int main()
{
	std::cout << "ready" << std::endl;
	try {
		if (std::cin.get() == 'x')
			throw std::runtime_error("x");
	} catch (const std::exception &) {
	}
}
"#;
const GO: &str = r#"package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Println("ready")
	os.Stdin.Read(make([]byte, 1))
}
"#;
const RUST: &str = r#"fn main() {
    println!("ready");
    std::io::stdin().read_line(&mut String::new()).expect("readable");
}
"#;
const CSHARP: &str = r#"class Program {
    static void Main() {
        System.Console.WriteLine("ready");
        System.Console.ReadLine();
    }
}
"#;
const FRAMEWORK: &str =
    r#"{"runtimeOptions": {"framework": {"name": "Microsoft.NETCore.App", "version": "3.1.0"}}}"#;

/// Runs a compiler on `text`, and gives what it made.
fn make(directory: &Path, (name, text): (&str, &str), words: &[&str]) -> Result<PathBuf, String> {
    let (source, program) = (directory.join(name), directory.join("program"));
    fs::write(&source, text).map_err(|error| error.to_string())?;
    let [compiler, flags @ ..] = words else { return Err("no compiler".to_owned()) };
    let mut command = Command::new(compiler);
    command.args(flags).arg("-o").arg(&program).arg(&source).current_dir(directory);
    run(&mut command).map(|()| program)
}

/// Runs a tool to its end.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {}: {said}", output.status)) }
}

/// In C, by this compiler and flags.
pub(crate) fn c(directory: &Path, words: &[&str]) -> Result<Start, String> {
    Ok(Start::of(make(directory, ("program.c", C), words)?))
}

/// In C, and it loads a library once it runs.
pub(crate) fn c_that_loads(directory: &Path, library: &str) -> Result<Start, String> {
    Ok(c(directory, &["cc"])?.with(&[library]))
}

/// In C++.
pub(crate) fn cpp(directory: &Path, flags: &[&str]) -> Result<Start, String> {
    make(directory, ("program.cc", CPP), &[&["c++"], flags].concat()).map(Start::of)
}

/// In Go.
pub(crate) fn go(directory: &Path, flags: &[&str]) -> Result<PathBuf, String> {
    make(directory, ("program.go", GO), &[&["go", "build"], flags].concat())
}

/// In Rust.
pub(crate) fn rust(directory: &Path, flags: &[&str]) -> Result<PathBuf, String> {
    make(directory, ("program.rs", RUST), &[&["rustc"], flags].concat())
}

/// By another tool without what a kernel does not need to run it.
pub(crate) fn stripped(program: Result<PathBuf, String>) -> Result<Start, String> {
    let program = program?;
    run(Command::new("strip").arg("--strip-all").arg(&program))?;
    Ok(Start::of(program))
}

/// Without its table of sections, as packers and `sstrip` leave it: the header no longer says where it is.
pub(crate) fn without_sections(program: Result<PathBuf, String>) -> Result<Start, String> {
    let program = program?;
    let mut bytes = fs::read(&program).map_err(|error| error.to_string())?;
    // e_shoff of a 64-bit header, then e_shnum and e_shstrndx
    bytes[0x28..0x30].fill(0);
    bytes[0x3c..0x40].fill(0);
    fs::write(&program, bytes).map_err(|error| error.to_string())?;
    Ok(Start::of(program))
}

/// In C#, for whatever runs its intermediate language.
fn csharp(directory: &Path) -> Result<PathBuf, String> {
    let (source, program) = (directory.join("program.cs"), directory.join("program.exe"));
    fs::write(&source, CSHARP).map_err(|error| error.to_string())?;
    run(Command::new("mcs").arg(format!("-out:{}", program.display())).arg(&source)).map(|()| program)
}

/// In C#, on .NET.
pub(crate) fn dotnet(directory: &Path) -> Result<Start, String> {
    let program = csharp(directory)?;
    fs::write(program.with_extension("runtimeconfig.json"), FRAMEWORK).map_err(|error| error.to_string())?;
    let mut start = Start::of(found("dotnet/dotnet")?).with(&[&program.to_string_lossy()]);
    start.command.env("DOTNET_SYSTEM_GLOBALIZATION_INVARIANT", "1");
    Ok(start)
}

/// In C#, on Mono.
pub(crate) fn mono(directory: &Path) -> Result<Start, String> {
    let program = csharp(directory)?;
    Ok(Start::named("mono").with(&[&program.to_string_lossy()]))
}

/// In Java, compiled to a class.
pub(crate) fn java(directory: &Path) -> Result<Start, String> {
    let source = directory.join("Program.java");
    let text = "class Program { public static void main(String[] words) throws Exception {\
                System.out.println(\"ready\"); System.in.read(); } }";
    fs::write(&source, text).map_err(|error| error.to_string())?;
    run(Command::new("javac").arg(&source))?;
    let directory = directory.to_string_lossy();
    Ok(Start::named("java").with(&["-Xmx64m", "-XX:TieredStopAtLevel=1", "-cp", &directory, "Program"]))
}
