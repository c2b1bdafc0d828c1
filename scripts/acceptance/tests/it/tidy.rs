//! The habits of the house, over the tree. What a lint can check is a lint; this is the rest.

use std::fs;
use std::path::{Path, PathBuf};

use acceptance::repository;

const SOURCES: [&str; 5] =
    ["shared/src", "queue-service/src", "booking-service/src", "scripts/acceptance/src", "scripts/load/src"];
const SERVICES: [&str; 2] = ["queue-service/src", "booking-service/src"];
const DRAWERS: [&str; 9] =
    ["utils", "util", "helpers", "helper", "common", "core", "misc", "stuff", "shared_utils"];
const MAX_LINES: usize = 500;
const MAX_NINTH: usize = 280;
const MAX_MAIN_LINES: usize = 40;
const MAX_SCRIPT_LINES: usize = 60;

struct File {
    /// From the root of the repository.
    path: String,
    name: String,
    text: String,
}

impl File {
    /// Lines of code before its own tests, without comments; `(number, text)`.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let code = self.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines = (1..).zip(code.lines());
        lines.map(|(number, line)| (number, line.split("//").next().unwrap_or_default()))
    }

    /// Where its code names the crate `word`, as in `word::`; not where it has a module of that name.
    fn naming(&self, word: &str) -> Vec<String> {
        if self.text.contains(&format!("\nmod {word};")) {
            return Vec::new();
        }
        let named = self.code().filter(|(_, line)| names_path(line, word));
        named.map(|(number, line)| format!("{}:{number}: {}", self.path, line.trim())).collect()
    }
}

/// `word::` or `use word`, and not as the tail of another path.
fn names_path(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = &line[at + word.len()..];
        let own = before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':');
        let absolute = line[..at].ends_with(" ::") || line[..at].ends_with("(::");
        (own || absolute) && after.starts_with("::")
    })
}

fn files(folders: &[&str], extension: &str) -> Vec<File> {
    let root = repository();
    let mut found = Vec::new();
    for folder in folders {
        walk(&root.join(folder), &mut |path| {
            if path.extension().is_some_and(|found| found == extension) {
                found.push(read(&root, path));
            }
        });
    }
    assert!(!found.is_empty(), "no .{extension} in {folders:?}");
    found
}

/// Sources of the product: without the modules that are compiled for tests alone.
fn sources(folders: &[&str]) -> Vec<File> {
    let mut found = files(folders, "rs");
    let tests: Vec<String> = found.iter().flat_map(test_modules).collect();
    found.retain(|file| {
        !tests.iter().any(|module| {
            file.path.strip_prefix(module).is_some_and(|tail| tail == ".rs" || tail.starts_with('/'))
        })
    });
    found
}

/// `folder/name` of each `#[cfg(test)] mod name;`.
fn test_modules(file: &File) -> Vec<String> {
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let declared = file.text.split("#[cfg(test)]\nmod ").skip(1).filter_map(|tail| tail.lines().next());
    declared.filter_map(|line| Some(format!("{folder}/{}", line.strip_suffix(';')?))).collect()
}

fn read(root: &Path, path: &Path) -> File {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let shown = path.strip_prefix(root).unwrap_or(path).display().to_string();
    File { path: shown, name: path.file_name().unwrap().to_string_lossy().into_owned(), text }
}

fn walk(folder: &Path, visit: &mut impl FnMut(&PathBuf)) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, visit) } else { visit(&path) }
    }
}

#[track_caller]
fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn the_web_framework_is_named_only_where_the_wire_is() {
    let wire = ["http.rs", "app.rs", "routes.rs", "answers.rs"];
    let strays = sources(&SERVICES).into_iter().filter(|file| {
        let extractor = file.text.contains("FromRequest");
        !wire.contains(&file.name.as_str()) && !extractor
    });
    none(
        "axum beyond http.rs, app.rs and extractors",
        &strays.flat_map(|file| file.naming("axum")).collect::<Vec<_>>(),
    );
}

#[test]
fn each_store_is_named_only_where_its_rows_and_keys_are() {
    let rows = ["store.rs", "db.rs"];
    let strays = sources(&SERVICES).into_iter().filter(|file| !rows.contains(&file.name.as_str()));
    none("sqlx beyond store.rs and db.rs", &strays.flat_map(|file| file.naming("sqlx")).collect::<Vec<_>>());
    let keys = |file: &File| file.name == "store.rs" || file.path.contains("/redis/");
    let strays = sources(&SERVICES).into_iter().filter(|file| !keys(file));
    none(
        "redis beyond store.rs and redis/",
        &strays.flat_map(|file| file.naming("redis")).collect::<Vec<_>>(),
    );
}

#[test]
fn the_wire_never_calls_the_store() {
    let wire = sources(&SERVICES).into_iter().filter(|file| file.name == "http.rs");
    let mut found = Vec::new();
    for file in wire {
        for (number, line) in file.code() {
            if line.contains("store::") || line.contains("::store") {
                found.push(format!("{}:{number}: {}", file.path, line.trim()));
            }
        }
    }
    none("http.rs names a store", &found);
}

#[test]
fn nouns_do_nothing() {
    let mut found = Vec::new();
    for file in sources(&SERVICES).into_iter().filter(|file| file.name == "model.rs") {
        for word in ["tokio", "sqlx", "redis", "axum", "reqwest"] {
            found.extend(file.naming(word));
        }
        let deeds = file.code().filter(|(_, line)| line.contains("async ") || line.contains(".now()"));
        found.extend(deeds.map(|(number, line)| format!("{}:{number}: {}", file.path, line.trim())));
    }
    none("model.rs has I/O, async or a clock", &found);
}

#[test]
fn the_services_never_import_each_other() {
    for (folder, other) in [("queue-service", "booking"), ("booking-service", "queue")] {
        let manifest = fs::read_to_string(repository().join(folder).join("Cargo.toml")).unwrap();
        assert!(!manifest.contains(&format!("{other}-service")), "{folder}/Cargo.toml");
        let sources = files(&[&format!("{folder}/src")], "rs");
        let found: Vec<_> =
            sources.iter().flat_map(|file| file.naming(&format!("{other}_service"))).collect();
        none("one service imports the other", &found);
    }
}

#[test]
fn no_file_is_long() {
    let mut found = Vec::new();
    for file in sources(&SOURCES) {
        let (lines, limit) = match file.name.as_str() {
            "main.rs" => (file.text.lines().count(), MAX_MAIN_LINES),
            _ => (file.text.lines().count(), MAX_LINES),
        };
        if lines > limit {
            found.push(format!("{}: {lines} lines, at most {limit}", file.path));
        }
    }
    none("long files", &found);
}

#[test]
fn nine_files_in_ten_are_short() {
    let mut lengths: Vec<_> = sources(&SOURCES).iter().map(|file| file.text.lines().count()).collect();
    lengths.sort_unstable();
    let ninth = lengths[(lengths.len() - 1) * 9 / 10];
    assert!(ninth <= MAX_NINTH, "nine in ten have up to {ninth} lines");
}

#[test]
fn there_are_no_drawers() {
    let mut found = Vec::new();
    for folder in SOURCES.iter().chain(&["scripts", "deploy"]) {
        walk(&repository().join(folder), &mut |path| {
            let tail = path.strip_prefix(repository()).unwrap_or(path);
            let words = tail.with_extension("");
            if words.iter().any(|word| DRAWERS.contains(&word.to_string_lossy().as_ref())) {
                found.push(tail.display().to_string());
            }
        });
    }
    none("names that say nothing", &found);
}

#[test]
fn nothing_is_put_off_or_waved_through() {
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK:")];
    let attributes = [concat!("#[al", "low("), concat!("#![al", "low(")];
    let mut found = Vec::new();
    for (folders, extension) in [
        (&["shared", "queue-service", "booking-service", "scripts"][..], "rs"),
        (&["queue-service"], "lua"),
        (&["booking-service"], "sql"),
    ] {
        for file in files(folders, extension) {
            for (number, line) in (1..).zip(file.text.lines()) {
                if words.iter().chain(&attributes).any(|word| line.contains(word)) {
                    found.push(format!("{}:{number}: {}", file.path, line.trim()));
                }
            }
        }
    }
    none("put off or waved through", &found);
}

/// What is the same for every script stands in the header of the prelude's head; its other parts say what
/// they are, because only together they are a script.
#[test]
fn every_lua_script_opens_with_its_contract() {
    let mut found = Vec::new();
    for file in files(&["queue-service"], "lua") {
        let header: Vec<_> = file.text.lines().take_while(|line| line.starts_with("--")).collect();
        let header = header.join("\n");
        if !header.starts_with("-- ") || !header.lines().next().is_some_and(|line| line.contains(&file.name))
        {
            found.push(format!("{}: its header does not name it", file.path));
        }
        let is_head = file.path.ends_with("prelude/head.lua");
        if file.path.contains("/prelude/") && !is_head {
            continue;
        }
        for (used, said) in [("KEYS[", "KEYS"), ("ARGV[", "ARGV"), ("", "Returns"), ("", "A script because")]
        {
            if (is_head || file.text.contains(used)) && !header.contains(said) {
                found.push(format!("{}: its header does not say {said}", file.path));
            }
        }
    }
    none("Lua headers", &found);
}

#[test]
fn every_migration_says_what_it_is_for() {
    let migrations = files(&["booking-service/migrations"], "sql");
    let silent = migrations.iter().filter(|file| !file.text.trim_start().starts_with("--"));
    none("migrations without a word", &silent.map(|file| file.path.clone()).collect::<Vec<_>>());
}

#[test]
fn scripts_are_short_and_stop_at_the_first_error() {
    let mut found = Vec::new();
    for folder in ["scripts", ".ci", "deploy"] {
        walk(&repository().join(folder), &mut |path| {
            let Ok(text) = fs::read_to_string(path) else { return };
            let runs = text.starts_with("#!") && text.lines().next().is_some_and(|line| line.ends_with("sh"));
            let sourced = path.extension().is_some_and(|extension| extension == "sh");
            let (shown, lines) = (path.display(), text.lines().count());
            if (runs || sourced) && lines > MAX_SCRIPT_LINES {
                found.push(format!("{shown}: {lines} lines"));
            }
            if runs && !text.contains("set -euo pipefail") {
                found.push(format!("{shown}: no `set -euo pipefail`"));
            }
        });
    }
    none("scripts", &found);
}

/// 65
#[test]
fn the_data_model_is_drawn_in_the_docs() {
    let text = fs::read_to_string(repository().join("docs/ARCHITECTURE.md")).unwrap_or_default();
    let drawn = text.to_lowercase().contains("data model") && text.contains("```");
    assert!(drawn, "docs/ARCHITECTURE.md has no drawing under a heading with `data model`");
    let migrations = files(&["booking-service/migrations"], "sql");
    let created = migrations.iter().flat_map(|file| file.text.split("create table ").skip(1));
    for table in created.filter_map(|tail| tail.split(|c: char| !c.is_alphanumeric() && c != '_').next()) {
        if !matches!(table, "" | "if") {
            assert!(text.contains(table), "the table {table} is not in docs/ARCHITECTURE.md");
        }
    }
}
