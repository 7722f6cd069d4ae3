//! The paths that a `use` brings in.
//!
//! Invariant: groups are taken apart, so `use std::{fs, net::TcpStream}` is two paths.

use proc_macro2::{Delimiter, TokenTree};

use crate::source::is_mark;

/// The paths of the `use` whose tokens follow, each with its line.
pub(crate) fn imports(trees: &[TokenTree]) -> Vec<(String, usize)> {
    // `use<'a>` in a return type is a list of captured lifetimes.
    if trees.first().is_some_and(|tree| is_mark(tree, '<')) {
        return Vec::new();
    }
    let end = trees.iter().position(|tree| is_mark(tree, ';')).unwrap_or(trees.len());
    let mut paths = Vec::new();
    branches("", &trees[..end], &mut paths);
    paths
}

fn branches(prefix: &str, trees: &[TokenTree], paths: &mut Vec<(String, usize)>) {
    for branch in trees.split(|tree| is_mark(tree, ',')) {
        let Some(first) = branch.first() else { continue };
        let mut path = prefix.to_owned();
        let mut group = None;
        for tree in branch {
            match tree {
                TokenTree::Ident(ident) if ident == "as" => break,
                TokenTree::Ident(ident) => push(&mut path, &ident.to_string()),
                TokenTree::Punct(punct) if punct.as_char() == '*' => push(&mut path, "*"),
                TokenTree::Group(inner) if inner.delimiter() == Delimiter::Brace => {
                    group = Some(inner);
                }
                TokenTree::Group(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
        match group {
            Some(inner) => {
                let inner: Vec<TokenTree> = inner.stream().into_iter().collect();
                branches(&path, &inner, paths);
            }
            None => paths.push((path, first.span().start().line)),
        }
    }
}

fn push(path: &mut String, segment: &str) {
    if !path.is_empty() {
        path.push_str("::");
    }
    path.push_str(segment);
}
