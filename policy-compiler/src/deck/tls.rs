//! Certificates, server names, authorities, vaults.

use super::collect::{Collected, owner};
use super::entity::{CaCertificate, Certificate, CertificateIndex, Model, Sni, Vault};
use super::fields::Fields;
use super::identity::meta;
use super::{Reader, Tables, reference, row};
use crate::source::Secret;

pub(super) fn read(reader: &Reader<'_>, all: &Collected<'_>, model: &mut Model, names: &mut Tables) {
    certificates(reader, all, model, names);
    snis(reader, all, model, names);
    authorities(reader, all, model, names);
    vaults(reader, all, model);
}

fn certificates(reader: &Reader<'_>, all: &Collected<'_>, model: &mut Model, names: &mut Tables) {
    for raw in &all.certificates {
        let fields = Fields::new(reader, "certificate", raw.node);
        fields.only(&["cert", "key", "cert_alt", "key_alt", "snis", "passphrase"]);
        let (true, true) = (fields.require("cert"), fields.require("key")) else {
            continue;
        };
        let (Some(cert), Some(key)) = (fields.text("cert"), fields.text("key")) else {
            continue;
        };
        hide(reader, &fields, "key");
        let index = row(model.certificates.len());
        let meta = meta(reader, &fields, "certificate", cert);
        names.certificates.add(
            reader,
            "certificate",
            "id",
            &meta.id.to_string(),
            index,
            meta.span,
        );
        names.certificates.place(raw.node, index);
        let alt = fields.text("cert_alt").zip(fields.text("key_alt"));
        hide(reader, &fields, "key_alt");
        model.certificates.push(Certificate {
            meta,
            cert: cert.into(),
            key: Secret::new(key),
            alt: alt.map(|(cert, key)| (cert.into(), Secret::new(key))),
        });
    }
}

fn snis(reader: &Reader<'_>, all: &Collected<'_>, model: &mut Model, names: &Tables) {
    let mut known = super::identity::Names::default();
    for raw in &all.snis {
        let fields = Fields::new(reader, "sni", raw.node);
        fields.only(&["name", "certificate"]);
        if !fields.require("name") {
            continue;
        }
        let Some(name) = fields.text("name").map(str::to_ascii_lowercase) else {
            continue;
        };
        let Some(certificate) = owner(reader, *raw, "certificate", &["id"], &names.certificates) else {
            continue;
        };
        let meta = meta(reader, &fields, "sni", &name);
        known.add(reader, "sni", "name", &name, row(model.snis.len()), meta.span);
        model.snis.push(Sni {
            meta,
            name: name.into(),
            certificate: CertificateIndex(certificate),
        });
    }
}

fn authorities(reader: &Reader<'_>, all: &Collected<'_>, model: &mut Model, names: &mut Tables) {
    for raw in &all.authorities {
        let fields = Fields::new(reader, "CA certificate", raw.node);
        fields.only(&["cert", "cert_digest"]);
        if !fields.require("cert") {
            continue;
        }
        let Some(cert) = fields.text("cert") else { continue };
        let meta = meta(reader, &fields, "ca_certificate", cert);
        let index = row(model.ca_certificates.len());
        names.authorities.add(
            reader,
            "CA certificate",
            "id",
            &meta.id.to_string(),
            index,
            meta.span,
        );
        model.ca_certificates.push(CaCertificate {
            meta,
            cert: cert.into(),
        });
    }
}

fn vaults(reader: &Reader<'_>, all: &Collected<'_>, model: &mut Model) {
    for raw in &all.vaults {
        let fields = Fields::new(reader, "vault", raw.node);
        fields.only(&["name", "prefix", "config", "description"]);
        let (true, true) = (fields.require("name"), fields.require("prefix")) else {
            continue;
        };
        let (Some(name), Some(prefix)) = (fields.text("name"), fields.text("prefix")) else {
            continue;
        };
        let meta = meta(reader, &fields, "vault", prefix);
        let config = fields.get("config").cloned();
        model.vaults.push(Vault {
            meta,
            name: name.into(),
            prefix: prefix.into(),
            config,
        });
    }
}

/// Keeps a field's text out of every excerpt.
pub(super) fn hide(reader: &Reader<'_>, fields: &Fields<'_, '_>, key: &str) {
    if let Some(node) = fields.get(key) {
        reader.report.hide(node.span);
    }
}

/// The certificate that a field names.
pub(super) fn client(
    reader: &Reader<'_>,
    fields: &Fields<'_, '_>,
    names: &Tables,
) -> Option<CertificateIndex> {
    let (name, span) = reference(fields.get("client_certificate")?, &["id"])?;
    reader
        .resolve(&names.certificates, "certificate", name, span)
        .map(CertificateIndex)
}
