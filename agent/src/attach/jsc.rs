//! JavaScriptCore's heap snapshots: which class of objects grows, and what holds them.
//!
//! Owns: the snapshot's form, and whose bytes new objects are: those of the outermost new object
//! that holds them, so that a record's texts and lists count as the record's.
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
/// Classes that only carry what another object holds.
const STORAGE: [&str; 8] = [
    "Butterfly",
    "Cell Butterfly",
    "Structure",
    "PropertyTable",
    "StructureRareData",
    "StructureChain",
    "SymbolTable",
    "HashMapBucket",
];

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
        let root = by_id.get(&0).copied().ok_or(FORM)?;
        let parents = shortest(root, nodes.len(), &ways);
        let File { classes, edge_types, edge_names, .. } = file;
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
            let via = self.holders(owner);
            reading.entry(place).and_modify(|kept| *kept = Kept { via, ..*kept });
        }
        reading
    }

    /// The outermost young object on the way from the root that is more than storage; `None`: the
    /// object is out of reach, and so not kept.
    fn owner(&self, index: usize, base: u64) -> Option<usize> {
        let mut owner = None;
        let mut at = index;
        for _ in 0..self.nodes.len() {
            if self.nodes[at].id <= base {
                return owner;
            }
            if !STORAGE.contains(&self.class(at)) {
                owner = Some(at);
            }
            at = self.parents[at]?.from;
        }
        owner
    }

    /// What holds it, nearest first: `Map`, `JSModuleEnvironment.store`, `Array[]`.
    fn holders(&self, index: usize) -> Vec<String> {
        let mut names = Vec::new();
        let mut at = index;
        while let Some(edge) = self.parents[at].filter(|_| names.len() < VIA_MAX) {
            let class = self.class(edge.from);
            if !STORAGE.contains(&class) {
                names.push(cut(&self.step(class, edge)));
            }
            at = edge.from;
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

fn shortest(
    root: usize,
    count: usize,
    ways: &BTreeMap<usize, Vec<(usize, Edge)>>,
) -> Vec<Option<Edge>> {
    let mut parents = vec![None; count];
    let mut seen = vec![false; count];
    seen[root] = true;
    let mut queue = VecDeque::from([root]);
    while let Some(at) = queue.pop_front() {
        for &(to, edge) in ways.get(&at).into_iter().flatten() {
            if !seen[to] {
                seen[to] = true;
                parents[to] = Some(edge);
                queue.push_back(to);
            }
        }
    }
    parents
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

    #[test]
    fn objects_that_nothing_reaches_and_edges_that_lead_nowhere_are_left_out() {
        let data = json!({
            "version": 3, "type": "Inspector",
            "nodes": [0, 0, 0, 0, 5, 50, 1, 0, 6, 60, 77, 0],
            "edges": [6, 5, 0, 0, 5, 6, 9, 9, 0, 99, 0, 0, 1],
            "nodeClassNames": ["<root>", "Lost"], "edgeTypes": [], "edgeNames": [],
        });
        let answer = json!({ "result": { "snapshotData": data.to_string() } }).to_string();
        assert!(Snapshot::read(answer.as_bytes()).unwrap().since(0).is_empty());
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
