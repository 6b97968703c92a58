//! What each source file names: read as Rust tokens, so comments, layout and test items cannot hide anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::iter::Peekable;
use std::path::Path;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree, token_stream};

/// `["offers", "http", "resources"]`: the crate, then the modules.
pub type Name = Vec<String>;

/// Where each crate of the product has its files.
const CRATES: &[(&str, &str)] =
    &[("offers", "src/"), ("domain", "domain/src/"), ("projections", "projections/src/")];

/// One file of the product.
#[derive(Debug)]
pub struct Source {
    /// From the root of the repository.
    pub path: String,
    pub module: Name,
    /// Every path that the product's code names, `use` and aliases resolved, from the crate's name on.
    pub names: BTreeSet<Name>,
    /// String literals, or the whole of an `.sql` file without its comments.
    pub texts: Vec<String>,
    test_modules: BTreeSet<Name>,
}

/// All sources of the product, without the modules that exist only in tests.
#[derive(Debug)]
pub struct Tree {
    pub files: BTreeMap<String, String>,
    modules: BTreeSet<Name>,
    pub sources: Vec<Source>,
}

impl Tree {
    pub fn read(root: &Path) -> Self {
        let mut files = BTreeMap::new();
        for (_, dir) in CRATES {
            collect(root, dir.trim_end_matches('/'), &mut files);
        }
        let modules =
            files.keys().filter(|path| extension(path) == "rs").map(|path| module_of(path)).collect();
        let mut tree = Self { files, modules, sources: Vec::new() };
        let mut sources: Vec<Source> =
            tree.files.iter().map(|(path, text)| tree.source(path, text)).collect();
        let tests: BTreeSet<Name> = sources.iter().flat_map(|one| one.test_modules.clone()).collect();
        sources.retain(|one| !tests.iter().any(|test| one.module.starts_with(test)));
        tree.sources = sources;
        tree
    }

    pub fn is_module(&self, name: &[String]) -> bool {
        self.modules.contains(name)
    }

    /// Reads `text` as if it stood in the file at `path`.
    pub fn source(&self, path: &str, text: &str) -> Source {
        let module = module_of(path);
        if extension(path) == "sql" {
            let text =
                text.lines().map(|line| line.split("--").next().unwrap()).collect::<Vec<_>>().join("\n");
            let texts = vec![text];
            return Source { path: path.into(), module, names: [].into(), texts, test_modules: [].into() };
        }
        let tokens: TokenStream = text.parse().unwrap_or_else(|why| panic!("{path}: {why}"));
        let mut reader = Reader::new(&self.modules);
        reader.read(tokens, &module);
        let names = reader.paths.iter().map(|(module, path)| reader.resolve(module, path)).collect();
        Source { path: path.into(), module, names, texts: reader.texts, test_modules: reader.test_modules }
    }
}

fn collect(root: &Path, dir: &str, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(root.join(dir)).unwrap() {
        let entry = entry.unwrap().path();
        let path = format!("{dir}/{}", entry.file_name().unwrap().to_str().unwrap());
        if entry.is_dir() {
            collect(root, &path, files);
        } else if ["rs", "sql"].contains(&extension(&path)) {
            files.insert(path, fs::read_to_string(entry).unwrap());
        }
    }
}

fn extension(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(_, extension)| extension)
}

/// `src/http/mod.rs` and `src/http.rs` are `offers::http`.
fn module_of(path: &str) -> Name {
    let (name, dir) = CRATES.iter().find(|(_, dir)| path.starts_with(dir)).unwrap();
    let inside = path[dir.len()..].rsplit_once('.').unwrap().0;
    let modules = inside.split('/').filter(|part| !["mod", "lib", "main"].contains(part));
    [*name].into_iter().chain(modules).map(str::to_owned).collect()
}

type Tokens = Peekable<token_stream::IntoIter>;

struct Reader<'a> {
    modules: &'a BTreeSet<Name>,
    /// A path as it is written, with the module that it is written in.
    paths: Vec<(Name, Name)>,
    /// What `use` binds: the local name, and the module and path that it stands for.
    bindings: BTreeMap<String, (Name, Name)>,
    texts: Vec<String>,
    test_modules: BTreeSet<Name>,
}

impl<'a> Reader<'a> {
    fn new(modules: &'a BTreeSet<Name>) -> Self {
        let (paths, texts) = (Vec::new(), Vec::new());
        Self { modules, paths, bindings: BTreeMap::new(), texts, test_modules: BTreeSet::new() }
    }

    fn read(&mut self, tokens: TokenStream, module: &Name) {
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == '#' => self.attribute(&mut tokens, module),
                TokenTree::Ident(word) if word == "use" && !next_is(&mut tokens, '<') => {
                    self.import(&mut tokens, module, &[]);
                }
                TokenTree::Ident(word) if word == "mod" => self.inline_module(&mut tokens, module),
                TokenTree::Ident(word) => {
                    let mut path = vec![word.to_string()];
                    while let Some(next) = next_segment(&mut tokens) {
                        path.push(next);
                    }
                    if path.len() > 1 {
                        self.paths.push((module.clone(), path));
                    }
                }
                TokenTree::Group(group) => self.read(group.stream(), module),
                TokenTree::Literal(literal) => self.texts.push(literal.to_string().replace("\\n", "\n")),
                TokenTree::Punct(_) => {}
            }
        }
    }

    /// Drops what is only for tests; reads paths in strings, as serde has them.
    fn attribute(&mut self, tokens: &mut Tokens, module: &Name) {
        if next_is(tokens, '!') {
            tokens.next();
        }
        let Some(TokenTree::Group(group)) = tokens.next() else { return };
        let text = group.stream().to_string();
        if text.starts_with("doc") {
            return;
        }
        if is_test(&group) {
            self.skip_item(tokens, module);
            return;
        }
        let earlier = self.texts.len();
        self.read(group.stream(), module);
        for literal in self.texts.split_off(earlier) {
            if let Ok(inner) = literal.trim_matches('"').parse() {
                self.read(inner, module);
            }
        }
    }

    /// Leaves out the item that begins here: up to its `;`, its braces or, for a field, its comma.
    fn skip_item(&mut self, tokens: &mut Tokens, module: &Name) {
        let mut words: Vec<String> = Vec::new();
        let mut file = None;
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == '#' => {
                    let Some(TokenTree::Group(group)) = tokens.next() else { continue };
                    let text = group.stream().to_string();
                    file =
                        text.strip_prefix("path = ").map(|file| file.trim_matches('"').to_owned()).or(file);
                }
                TokenTree::Ident(word) => words.push(word.to_string()),
                TokenTree::Punct(punct) if punct.as_char() == ';' => break,
                TokenTree::Punct(punct) if punct.as_char() == ',' && !is_item(&words) => break,
                TokenTree::Group(group)
                    if group.delimiter() == Delimiter::Brace && !ends_with_semicolon(&words) =>
                {
                    return;
                }
                _ => {}
            }
        }
        if let Some(at) = words.iter().position(|word| word == "mod") {
            let name =
                file.map_or_else(|| words[at + 1].clone(), |file| file.trim_end_matches(".rs").to_owned());
            // `#[path]` starts at the folder of the file.
            let child = [module.as_slice(), std::slice::from_ref(&name)].concat();
            let sibling = [&module[..module.len() - 1], &[name]].concat();
            self.test_modules.insert(if self.modules.contains(&child) { child } else { sibling });
        }
    }

    fn inline_module(&mut self, tokens: &mut Tokens, module: &Name) {
        let Some(TokenTree::Ident(name)) = tokens.next() else { return };
        if let Some(TokenTree::Group(group)) = tokens.next() {
            self.read(group.stream(), &[module.as_slice(), &[name.to_string()]].concat());
        }
    }

    /// A `use` after `prefix`: notes each path that it ends in, and what each is called here.
    fn import(&mut self, tokens: &mut Tokens, module: &Name, prefix: &[String]) {
        let mut path = prefix.to_vec();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Ident(word) if word == "as" => {
                    let alias = tokens.next().unwrap().to_string();
                    self.bindings.insert(alias, (module.clone(), path.clone()));
                }
                TokenTree::Ident(word) => path.push(word.to_string()),
                TokenTree::Punct(punct) if punct.as_char() == '*' => path.push("*".to_owned()),
                TokenTree::Punct(punct) if punct.as_char() == ',' => {
                    self.bind(module, std::mem::replace(&mut path, prefix.to_vec()), prefix.len());
                }
                TokenTree::Punct(punct) if punct.as_char() == ';' => break,
                TokenTree::Group(group) => {
                    self.import(&mut group.stream().into_iter().peekable(), module, &path);
                    path = prefix.to_vec();
                }
                _ => {}
            }
        }
        self.bind(module, path, prefix.len());
    }

    fn bind(&mut self, module: &Name, mut path: Name, prefix: usize) {
        if path.len() <= prefix {
            return;
        }
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        self.bindings.entry(path[path.len() - 1].clone()).or_insert((module.clone(), path.clone()));
        self.paths.push((module.clone(), path));
    }

    fn resolve(&self, module: &Name, path: &[String]) -> Name {
        self.resolve_within(module, path, 8)
    }

    /// `depth` bounds the aliases of aliases.
    fn resolve_within(&self, module: &Name, path: &[String], depth: usize) -> Name {
        let (first, rest) = path.split_first().unwrap();
        let child = [module.as_slice(), std::slice::from_ref(first)].concat();
        match first.as_str() {
            "crate" => [&module[..1], rest].concat(),
            "self" => [module, rest].concat(),
            "super" => {
                let supers = path.iter().take_while(|one| *one == "super").count();
                [&module[..module.len().saturating_sub(supers).max(1)], &path[supers..]].concat()
            }
            _ if self.modules.contains(&child) => [child.as_slice(), rest].concat(),
            _ => match self.bindings.get(first) {
                Some((at, bound))
                    if depth > 0
                        && bound.as_slice() != std::slice::from_ref(first)
                        && !path.starts_with(bound) =>
                {
                    [self.resolve_within(at, bound, depth - 1).as_slice(), rest].concat()
                }
                _ => path.to_vec(),
            },
        }
    }
}

fn next_is(tokens: &mut Tokens, wanted: char) -> bool {
    matches!(tokens.peek(), Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

/// The `name` of `::name`, if that comes next.
fn next_segment(tokens: &mut Tokens) -> Option<String> {
    let mut ahead = tokens.clone();
    for _ in 0..2 {
        ahead.next_if(|token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ':'))?;
    }
    let TokenTree::Ident(word) = ahead.next()? else { return None };
    *tokens = ahead;
    Some(word.to_string())
}

/// `cfg(test)` and `cfg(all(test, …))`; what is compiled without tests too is product.
fn is_test(attribute: &Group) -> bool {
    let text: String = attribute.stream().to_string().split_whitespace().collect();
    text == "cfg(test)" || text.starts_with("cfg(all(test,")
}

/// What an item begins with, so that a comma does not end it.
fn is_item(words: &[String]) -> bool {
    const ITEMS: &[&str] =
        &["fn", "struct", "enum", "impl", "trait", "mod", "use", "const", "static", "type"];
    words.iter().any(|word| ITEMS.contains(&word.as_str()))
}

/// Braces do not end a `use`, a constant or a `let`.
fn ends_with_semicolon(words: &[String]) -> bool {
    const TO_SEMICOLON: &[&str] = &["use", "const", "static", "type", "let"];
    let first = words.iter().find(|word| *word != "pub");
    first.is_some_and(|word| TO_SEMICOLON.contains(&word.as_str())) && !words.iter().any(|word| word == "fn")
}
