use super::*;
use std::io::Write;

fn node(text: &str) -> Result<Node, Fault> {
    parse(text, &|name| (name == "PORT").then(|| "8080".to_owned()))
}

fn get<'a>(node: &'a Node, key: &str) -> &'a Node {
    let Content::Map(map) = &node.content else { panic!("{node:?}") };
    &map.iter().find(|(name, _)| name == key).expect(key).1
}

#[test]
fn every_value_knows_its_line() {
    let root = node("# a comment\nopen_port: 80\nroutes:\n  patterns:\n    - /a\n    - /b\n").expect("YAML");
    assert_eq!(get(&root, "open_port"), &Node { line: 2, content: Content::Scalar("80".to_owned()) });
    let Content::List(list) = &get(get(&root, "routes"), "patterns").content else { panic!() };
    assert_eq!(list.iter().map(|node| node.line).collect::<Vec<_>>(), [5, 6]);
}

#[test]
fn variables_are_replaced_with_their_value_or_default_and_never_become_keys() {
    for (text, expected) in [
        ("${PORT}", "8080"),
        ("${PORT:-9}", "8080"),
        ("${OTHER:-9}", "9"),
        ("a${PORT}b${OTHER}c", "a8080bc"),
        ("\"${OTHER:-x: y}\"", "x: y"),
    ] {
        assert_eq!(
            get(&node(&format!("k: {text}")).expect(text), "k").content,
            Content::Scalar(expected.to_owned())
        );
    }
    assert_eq!(get(&node("k: ${OTHER}").expect("YAML"), "k").content, Content::Null);
    assert_eq!(node("a: 1\nk: ${PORT\n").expect_err("no end"), (2, "${ without }".to_owned()));
}

#[test]
fn an_alias_is_what_it_stands_for() {
    let root = node("a: &x {exe_path: /b}\nb: *x\n").expect("YAML");
    assert_eq!(get(&root, "a").content, get(&root, "b").content);
}

#[test]
fn what_would_grow_without_end_is_refused() {
    let bomb: String = (1..40).map(|n| format!("a{n}: &a{n} [*a{m}, *a{m}]\n", m = n - 1)).collect();
    assert!(node(&format!("a0: &a0 [x]\n{bomb}")).expect_err("bomb").1.contains("values"));
    assert!(node(&"[".repeat(5000)).is_err());
    assert!(node(&format!("{}x", "- ".repeat(100))).expect_err("deep").1.contains("within each other"));
    assert!(node(&"- x\n".repeat(MAX_NODES + 1)).is_err());
}

#[test]
fn malformed_files_name_the_line() {
    for (text, line) in
        [("a: 1\nb: [\n", 3), ("a: 1\na: 2\n", 2), ("a: 1\n---\nb: 2\n", 2), ("a: 1\n? [x]\n: 2\n", 2)]
    {
        let (found, problem) = node(text).expect_err(text);
        assert!(found.abs_diff(line) <= 1, "{text:?}: {found}: {problem}");
        assert!(!problem.contains('\n'), "{problem}");
    }
}

#[test]
fn every_prefix_of_a_file_is_read_or_refused() {
    let text =
        "open_port: ${PORT:-80}\nroutes: &r\n  patterns: [\"/a\", '/b']\n  unmatched: |\n    x\nother: *r\n";
    for end in (0..=text.len()).filter(|end| text.is_char_boundary(*end)) {
        let _ = node(text.get(..end).expect("a boundary"));
    }
}

#[test]
fn a_file_that_is_none_is_one_clear_line() {
    let none = |_: &str| None;
    let dir = std::env::temp_dir().join(format!("ratatosk-config-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("directory");
    let missing = read(&dir.join("missing.yml"), &none).expect_err("missing").to_string();
    assert!(missing.contains("missing.yml: the configuration file can't be read: No such file"), "{missing}");
    assert!(read(&dir, &none).expect_err("directory").to_string().contains("regular file"));
    let large = dir.join("large.yml");
    let mut file = File::create(&large).expect("file");
    file.write_all(&vec![b'#'; usize::try_from(MAX_FILE_BYTES).expect("small") + 1]).expect("written");
    assert!(read(&large, &none).expect_err("large").to_string().contains("more than 1048576 bytes"));
    std::fs::write(&large, b"a: \xff").expect("written");
    assert!(read(&large, &none).expect_err("bytes").to_string().contains("not UTF-8"));
    std::fs::remove_dir_all(&dir).expect("removed");
}
