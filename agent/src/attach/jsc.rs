//! JavaScriptCore's heap snapshots: which class of objects grows, and what holds them.
//!
//! Owns: the snapshot's form, and whose bytes new objects are: those of the outermost new object
//! that holds them, so that a record's texts and lists count as the record's.
//! The engine does not follow the storage of Map and Set in its snapshots: what is in there looks as
//! if nothing held it. It is charged to itself, and the Map or Set with the largest storage, made
//! anew if there is one, is said to be its likely holder.
//! Refuses: taking snapshots (`bun`) and comparing readings (`grown`). Pure.
//! Invariant: every index of the file is checked; a path towards the root ends, loop or not.
//! Source: WebKit, `HeapSnapshotBuilder.cpp` (format of the JSON).

use std::collections::{BTreeMap, VecDeque};

use serde::Deserialize;

use super::error::{AttachError, cut};
use super::grown::{Kept, Place, Reading};

const VIA_MAX: usize = stent_contract::attribution::VIA_MAX;
/// Numbers of a node (id, size, class, flags) and of an edge (from, to, type, name) in a row.
const STRIDE: usize = 4;
/// The number of the root.
const ROOT: u64 = 0;
/// What Map and Set keep their entries in.
const TABLE: &str = "Cell Butterfly";
/// Classes of the engine's own: they carry what another object holds, or are compiled code.
const ENGINE: [&str; 10] = [
    TABLE,
    "Butterfly",
    "Structure",
    "PropertyTable",
    "StructureRareData",
    "StructureChain",
    "FunctionRareData",
    "SymbolTable",
    "StrongRootBlock",
    "NativeExecutable",
];
/// Classes that hold many of something: the something is what is named.
const CONTAINERS: [&str; 3] = ["Array", "Map", "Set"];

#[derive(Debug, Deserialize)]
struct Answer {
    result: Holder,
}

#[derive(Debug, Deserialize)]
struct Holder {
    #[serde(rename = "snapshotData")]
    data: String,
}

#[derive(Debug, Deserialize)]
struct File {
    #[serde(rename = "type")]
    kind: String,
    nodes: Vec<u64>,
    #[serde(rename = "nodeClassNames")]
    classes: Vec<String>,
    edges: Vec<u64>,
    #[serde(rename = "edgeTypes")]
    edge_types: Vec<String>,
    #[serde(rename = "edgeNames")]
    edge_names: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    id: u64,
    size: u64,
    class: usize,
}

#[derive(Clone, Copy, Debug)]
struct Edge {
    from: usize,
    kind: usize,
    name: u64,
}

/// A heap at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    nodes: Vec<Node>,
    classes: Vec<String>,
    edge_types: Vec<String>,
    edge_names: Vec<String>,
    /// For each node the edge on the shortest way from the root.
    parents: Vec<Option<Edge>>,
}

impl Snapshot {
    /// Reads the answer to `Heap.snapshot`.
    pub(crate) fn read(answer: &[u8]) -> Result<Self, AttachError> {
        const FORM: AttachError = AttachError::Nonsense("not a heap snapshot");
        let answer: Answer = serde_json::from_slice(answer).map_err(|_| FORM)?;
        let file: File = serde_json::from_str(&answer.result.data).map_err(|_| FORM)?;
        drop(answer);
        if file.kind != "Inspector" {
            return Err(FORM);
        }
        let index = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let nodes: Vec<Node> = file
            .nodes
            .chunks_exact(STRIDE)
            .map(|row| Node { id: row[0], size: row[1], class: index(row[2]) })
            .collect();
        let by_id: BTreeMap<u64, usize> =
            nodes.iter().enumerate().map(|(i, n)| (n.id, i)).collect();
        let ways = ways(&file.edges, &by_id);
        let root = by_id.get(&ROOT).copied().ok_or(FORM)?;
        let File { classes, edge_types, edge_names, .. } = file;
        let is_code: Vec<bool> = classes.iter().map(|class| is_code(class)).collect();
        let is_code = |index: usize| is_code.get(nodes[index].class).copied().unwrap_or_default();
        let parents = shortest(root, nodes.len(), &ways, is_code);
        Ok(Self { nodes, classes, edge_types, edge_names, parents })
    }

    /// The youngest object: later ones have greater numbers.
    pub(crate) fn youngest(&self) -> u64 {
        self.nodes.iter().map(|node| node.id).max().unwrap_or(0)
    }

    /// How many objects there are.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// What objects younger than `base` keep, by class.
    pub(crate) fn since(&self, base: u64) -> Reading {
        let mut reading = Reading::new();
        let mut heaviest: BTreeMap<Place, (u64, usize)> = BTreeMap::new();
        let table = self.likely_table(base);
        for (index, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.id > base) {
            let Some(owner) = self.owner(index, base) else { continue };
            let place = Place { function: cut(self.class(owner)), ..Place::default() };
            let kept = reading.entry(place.clone()).or_default();
            kept.bytes = kept.bytes.saturating_add(node.size);
            let heavy = heaviest.entry(place).or_insert((node.size, owner));
            if node.size > heavy.0 {
                *heavy = (node.size, owner);
            }
        }
        for (place, (_, owner)) in heaviest {
            let via = self.holders(owner, table);
            reading.entry(place).and_modify(|kept| *kept = Kept { via, ..*kept });
        }
        reading
    }

    /// The outermost young object on the way from the root that is the program's and no container;
    /// a container where there is nothing else; `None`: all of it is the engine's.
    fn owner(&self, index: usize, base: u64) -> Option<usize> {
        let (mut owner, mut container) = (None, None);
        let mut at = index;
        for _ in 0..self.nodes.len() {
            if self.nodes[at].id <= base {
                break;
            }
            let class = self.class(at);
            if CONTAINERS.contains(&class) {
                container = Some(at);
            } else if !is_engines(class) {
                owner = Some(at);
            }
            let Some(edge) = self.parents[at] else { break };
            at = edge.from;
        }
        owner.or(container)
    }

    /// Of all Maps and Sets the one with the largest young storage; where none was made anew, the one
    /// with the largest: a large table is seldom made anew.
    fn likely_table(&self, base: u64) -> Option<usize> {
        let tables = self.nodes.iter().enumerate().filter_map(|(index, node)| {
            let holder = self.parents[index]?.from;
            let is_table =
                self.class(index) == TABLE && ["Map", "Set"].contains(&self.class(holder));
            is_table.then_some((node.id > base, node.size, holder))
        });
        tables.max().map(|(_, _, holder)| holder)
    }

    /// What holds it, nearest first: `Map`, `JSModuleEnvironment.store`, `Array[]`. `table` is a guess
    /// for what nothing seems to hold.
    fn holders(&self, index: usize, table: Option<usize>) -> Vec<String> {
        let mut names = Vec::new();
        let mut at = index;
        let mut guess = table;
        while names.len() < VIA_MAX {
            match self.parents[at] {
                Some(edge) => {
                    let class = self.class(edge.from);
                    if !is_engines(class) {
                        names.push(cut(&self.step(class, edge)));
                    }
                    at = edge.from;
                }
                None if self.nodes[at].id == ROOT => break,
                None => {
                    let Some(map) = guess.take().filter(|map| *map != at) else { break };
                    names.push(format!("{} (likely)", self.class(map)));
                    at = map;
                }
            }
        }
        names
    }

    fn step(&self, class: &str, edge: Edge) -> String {
        match self.edge_types.get(edge.kind).map(String::as_str) {
            Some("Property" | "Variable") => {
                let name = usize::try_from(edge.name).ok().and_then(|n| self.edge_names.get(n));
                format!("{class}.{}", name.map_or("?", String::as_str))
            }
            Some("Index") => format!("{class}[]"),
            _ => class.to_owned(),
        }
    }

    fn class(&self, index: usize) -> &str {
        self.classes.get(self.nodes[index].class).map_or("(unknown)", String::as_str)
    }
}

/// The edges that leave each node; those that name no node are left out.
fn ways(edges: &[u64], by_id: &BTreeMap<u64, usize>) -> BTreeMap<usize, Vec<(usize, Edge)>> {
    let mut ways: BTreeMap<usize, Vec<(usize, Edge)>> = BTreeMap::new();
    for row in edges.chunks_exact(STRIDE) {
        let (Some(&from), Some(&to)) = (by_id.get(&row[0]), by_id.get(&row[1])) else { continue };
        let kind = usize::try_from(row[2]).unwrap_or(usize::MAX);
        ways.entry(from).or_default().push((to, Edge { from, kind, name: row[3] }));
    }
    ways
}

/// The shortest ways from the root, those through compiled code only where there is no other: code
/// refers to almost everything. What the root does not reach has ways from what nothing refers to.
fn shortest(
    root: usize,
    count: usize,
    ways: &BTreeMap<usize, Vec<(usize, Edge)>>,
    is_code: impl Fn(usize) -> bool,
) -> Vec<Option<Edge>> {
    let mut parents = vec![None; count];
    let mut seen = vec![false; count];
    let mut referred = vec![false; count];
    for (to, edge) in ways.values().flatten() {
        referred[*to] |= *to != edge.from;
    }
    let orphans = (0..count).filter(|index| !referred[*index]);
    // Loops that nothing outside refers to come last, each by its first object.
    for start in std::iter::once(root).chain(orphans).chain(0..count) {
        if std::mem::replace(&mut seen[start], true) {
            continue;
        }
        let (mut queue, mut code) = (VecDeque::from([start]), VecDeque::new());
        while let Some(at) = queue.pop_front().or_else(|| code.pop_front()) {
            for &(to, edge) in ways.get(&at).into_iter().flatten() {
                if !std::mem::replace(&mut seen[to], true) {
                    parents[to] = Some(edge);
                    if is_code(to) { code.push_back(to) } else { queue.push_back(to) }
                }
            }
        }
    }
    parents
}

fn is_code(class: &str) -> bool {
    class.ends_with("CodeBlock") || class.ends_with("Executable")
}

fn is_engines(class: &str) -> bool {
    is_code(class) || ENGINE.contains(&class)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::grown::frames;
    use super::*;

    /// root -> environment -store-> Map -> storage -> `records` of (record -> text of 100 bytes).
    fn answer(records: u64) -> Vec<u8> {
        let mut nodes = vec![0, 0, 0, 0, 1, 10, 1, 0, 2, 20, 2, 0, 1_000 + records, 999, 3, 0];
        let storage = 1_000 + records; // made anew each time that it grows
        let mut edges = vec![0, 1, 0, 0, 1, 2, 3, 0, 2, storage, 0, 0];
        for n in 0..records {
            let (record, text) = (10 + 2 * n, 11 + 2 * n);
            nodes.extend([record, 48, 4, 0, text, 100, 5, 0]);
            edges.extend([storage, record, 2, n, record, text, 1, 1]);
        }
        let data = json!({
            "version": 3, "type": "Inspector", "nodes": nodes, "edges": edges,
            "nodeClassNames": ["<root>", "JSModuleEnvironment", "Map", "Cell Butterfly", "SessionRecord", "string"],
            "edgeTypes": ["Internal", "Property", "Index", "Variable"],
            "edgeNames": ["store", "payload"],
        });
        json!({ "id": 1, "result": { "timestamp": 1.0, "snapshotData": data.to_string() } })
            .to_string()
            .into_bytes()
    }

    #[test]
    fn the_growing_class_is_named_with_its_contents_and_what_holds_it() {
        // 10 + 2 * 5 - 1 = 19 is the youngest record; the storage has numbers of its own.
        let base = 19;
        let readings: Vec<Reading> = [5, 6, 8, 9]
            .map(|records| Snapshot::read(&answer(records)).unwrap().since(base))
            .into_iter()
            .collect();
        let frames = frames(&readings);
        assert_eq!(frames.len(), 1, "{frames:?}");
        assert_eq!((frames[0].function.as_str(), frames[0].bytes), ("SessionRecord", 4 * 148));
        assert_eq!(frames[0].via, ["Map", "JSModuleEnvironment.store", "<root>"]);
    }

    #[test]
    fn a_snapshot_knows_its_youngest_object_and_how_many_there_are() {
        let snapshot = Snapshot::read(&answer(3)).unwrap();
        assert_eq!((snapshot.youngest(), snapshot.len()), (1_003, 10));
    }

    /// As [`answer`], but the storage has no edges: that is how Bun 1.4 writes a Map's.
    fn answer_without_tables_edges(records: u64) -> Vec<u8> {
        let text = String::from_utf8(answer(records)).unwrap();
        let mut whole: serde_json::Value = serde_json::from_str(&text).unwrap();
        let data = whole["result"]["snapshotData"].as_str().unwrap();
        let mut data: serde_json::Value = serde_json::from_str(data).unwrap();
        let edges: Vec<u64> = serde_json::from_value(data["edges"].clone()).unwrap();
        let kept = edges.chunks(STRIDE).filter(|row| row[0] != 1_000 + records);
        data["edges"] = kept.flatten().copied().collect();
        whole["result"]["snapshotData"] = data.to_string().into();
        whole.to_string().into_bytes()
    }

    #[test]
    fn what_is_in_a_map_without_edges_is_charged_to_itself_and_the_grown_map_holds_it() {
        let readings: Vec<Reading> = [5, 6, 8, 9]
            .map(|n| Snapshot::read(&answer_without_tables_edges(n)).unwrap().since(19))
            .into_iter()
            .collect();
        let frames = frames(&readings);
        assert_eq!((frames[0].function.as_str(), frames[0].bytes), ("SessionRecord", 4 * 148));
        assert_eq!(frames[0].via, ["Map (likely)", "JSModuleEnvironment.store", "<root>"]);
    }

    #[test]
    fn ways_through_compiled_code_are_the_last_resort_and_code_is_never_named() {
        // root -> code -> function 7; root -> environment -handlers-> array -> function 7.
        let data = json!({
            "version": 3, "type": "Inspector",
            "nodes": [0, 0, 0, 0, 1, 9, 1, 0, 2, 9, 2, 0, 3, 9, 3, 0, 7, 50, 4, 0, 8, 99, 1, 0],
            "edges": [0, 1, 0, 0, 1, 7, 0, 0, 0, 2, 0, 0, 2, 3, 1, 0, 3, 7, 2, 0, 1, 8, 0, 0],
            "nodeClassNames": ["<root>", "FunctionCodeBlock", "Environment", "Array", "Function"],
            "edgeTypes": ["Internal", "Property", "Index"], "edgeNames": ["handlers"],
        });
        let answer = json!({ "result": { "snapshotData": data.to_string() } }).to_string();
        let reading = Snapshot::read(answer.as_bytes()).unwrap().since(5);
        let found: Vec<_> = reading.iter().map(|(p, k)| (p.function.as_str(), k.bytes)).collect();
        assert_eq!(found, [("Function", 50)]);
        let via = &reading.values().next().unwrap().via;
        assert_eq!(via, &["Array[]", "Environment.handlers", "<root>"]);
    }

    #[test]
    fn edges_that_lead_nowhere_and_indexes_without_a_name_are_survived() {
        let data = json!({
            "version": 3, "type": "Inspector",
            "nodes": [0, 0, 0, 0, 5, 50, 1, 0, 6, 60, 77, 0],
            "edges": [6, 5, 0, 0, 5, 6, 9, 9, 0, 99, 0, 0, 1],
            "nodeClassNames": ["<root>", "Lost"], "edgeTypes": [], "edgeNames": [],
        });
        let answer = json!({ "result": { "snapshotData": data.to_string() } }).to_string();
        let reading = Snapshot::read(answer.as_bytes()).unwrap().since(0);
        assert_eq!(reading.values().map(|kept| kept.bytes).sum::<u64>(), 110);
    }

    #[test]
    fn an_answer_of_another_form_is_refused() {
        for text in
            ["", "{}", r#"{"result":{"snapshotData":"{}"}}"#, r#"{"result":{"snapshotData":3}}"#]
        {
            assert!(Snapshot::read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
