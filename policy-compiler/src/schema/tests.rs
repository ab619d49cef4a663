use super::field::Field;
use super::*;

fn each(field: &Field, see: &mut dyn FnMut(&Field)) {
    see(field);
    for field in field.fields.values().chain(field.item.as_deref()) {
        each(field, see);
    }
}

#[test]
fn every_pattern_is_a_regex() {
    let catalogue = Catalogue::default();
    let mut count = 0;
    for name in catalogue.names() {
        let schema = catalogue.plugin(name).expect("it is in the catalogue");
        each(&schema.config, &mut |field| {
            for pattern in &field.patterns {
                count += 1;
                assert!(check::form(pattern).is_ok(), "{name}: {pattern}");
            }
        });
    }
    assert!(count > 20, "only {count} patterns were found");
}
