use super::*;
use crate::diagnostic::Report;

fn leaf_texts(text: &str) -> Vec<String> {
    fn walk(node: &Node, text: &str, out: &mut Vec<String>) {
        let here = |span: Span| text[span.start as usize..span.end as usize].to_owned();
        match &node.value {
            Value::Map(entries) => {
                for entry in entries {
                    out.push(here(entry.key_span));
                    walk(&entry.node, text, out);
                }
            }
            Value::List(items) => items.iter().for_each(|item| walk(item, text, out)),
            _ => out.push(here(node.span)),
        }
    }
    let report = Report::default();
    let rendered = template::Rendered::verbatim(text);
    let tree = parse(&rendered, FileId(0), &report).expect("it parses");
    let mut out = Vec::new();
    walk(&tree, text, &mut out);
    out
}

#[test]
fn spans_cover_what_is_written_and_no_more() {
    let text = "a: b # c\nd: \"e\"  # f\ng: 'h' # i\nj: |\n  k\n  l\nm: [n, o] # p\nr: {s: t, u: \"v\"}\nw: >-\n  x\n\n# y\nz: end\n";
    let wanted = [
        "a",
        "b",
        "d",
        "\"e\"",
        "g",
        "'h'",
        "j",
        "|\n  k\n  l",
        "m",
        "n",
        "o",
        "r",
        "s",
        "t",
        "u",
        "\"v\"",
        "w",
        ">-\n  x",
        "z",
        "end",
    ];
    assert_eq!(leaf_texts(text), wanted);
}
