//! Certificates with their server names, authorities.

use super::entity::{CaCertificate, CaCertificateIndex, Certificate, CertificateIndex, Sni};
use super::fields::{Fields, Text};
use super::{Reader, row, syntax};
use crate::diagnostic::Diagnostic;
use crate::source::{Node, Secret, Value};

impl Reader<'_> {
    pub(super) fn certificates(&mut self, file: &mut Fields<'_>) {
        for node in file.list("ca_certificates") {
            if let Some(fields) = Fields::open("ca certificate", node, self.report) {
                self.ca_certificate(fields);
            }
        }
        for node in file.list("certificates") {
            if let Some(fields) = Fields::open("certificate", node, self.report) {
                self.certificate(fields);
            }
        }
        for node in file.list("snis") {
            let Some(mut fields) = Fields::open("sni", node, self.report) else {
                continue;
            };
            match fields.reference("certificate") {
                Some(reference) => {
                    if let Some(index) = self.certificates.resolve(&reference, "sni", self.report) {
                        self.sni(fields, index);
                    }
                }
                None => fields.missing("certificate"),
            }
        }
    }

    fn ca_certificate(&mut self, mut fields: Fields<'_>) {
        let cert = fields.required("cert");
        fields.text("cert_digest");
        let key = cert.as_ref().map_or("", |cert| &*cert.value).to_owned();
        let span = fields.first_key();
        let meta = self.meta(&mut fields, &key, Some(span));
        fields.close();
        let Some(cert) = cert else { return };
        self.pem(&cert, "CERTIFICATE");
        let index = CaCertificateIndex(row(self.model.ca_certificates.len()));
        self.ca_certificates
            .enter(None, meta.id, index, meta.span, self.report);
        self.model.ca_certificates.push(CaCertificate {
            meta,
            cert: cert.value,
        });
    }

    fn certificate(&mut self, mut fields: Fields<'_>) {
        let span = fields.first_key();
        let cert = fields.required("cert");
        let key = fields.secret("key");
        let cert_alt = fields.text("cert_alt");
        let key_alt = if fields.has("key_alt") {
            fields.secret("key_alt")
        } else {
            fields.take("key_alt").and(None)
        };
        let unique = cert.as_ref().map_or("", |cert| &*cert.value).to_owned();
        let meta = self.meta(&mut fields, &unique, Some(span));
        let snis = fields.list("snis");
        if cert_alt.is_some() != key_alt.is_some() {
            fields.refuse(span, "`cert_alt` and `key_alt` of a certificate go together");
        }
        fields.close();
        let (Some(cert), Some(key)) = (cert, key) else {
            return;
        };
        self.pem(&cert, "CERTIFICATE");
        let key = match key.value.expose() {
            text if text.contains("{vault://") => self
                .resolve_references(text, key.span)
                .map_or(key.value, Secret::new),
            text if text.contains("PRIVATE KEY-----") => key.value,
            _ => {
                self.report
                    .push(Diagnostic::error("invalid-value", "this is not a PEM private key").at(key.span));
                key.value
            }
        };
        let index = CertificateIndex(row(self.model.certificates.len()));
        self.certificates
            .enter(None, meta.id, index, meta.span, self.report);
        let alt = cert_alt.zip(key_alt).map(|(cert, key)| (cert.value, key.value));
        self.model.certificates.push(Certificate {
            meta,
            cert: cert.value,
            key,
            alt,
        });
        for node in snis {
            let node = named(node);
            if let Some(mut fields) = Fields::open("sni", node, self.report) {
                fields.take("certificate");
                self.sni(fields, index);
            }
        }
    }

    fn sni(&mut self, mut fields: Fields<'_>, certificate: CertificateIndex) {
        let name = fields.required("name");
        let key = name.as_ref().map_or("", |name| &*name.value).to_owned();
        let meta = self.meta(&mut fields, &key, name.as_ref().map(|name| name.span));
        let Some(name) = name else { return };
        // `*` alone is the default certificate's.
        if &*name.value != "*"
            && let Err(words) = syntax::sni(&name.value)
        {
            fields.refuse(name.span, words);
        }
        fields.close();
        let name: Box<str> = name.value.to_ascii_lowercase().into();
        if let Some(earlier) = self.model.snis.iter().find(|sni| sni.name == name) {
            let words = format!("two certificates claim the server name `{name}`");
            let finding = Diagnostic::error("duplicate-name", words).at(meta.span);
            self.report.push(finding.also(earlier.meta.span, "the first one"));
        }
        self.model.snis.push(Sni {
            meta,
            name,
            certificate,
        });
    }

    fn pem(&self, text: &Text, label: &str) {
        let is_pem = text.value.contains(&format!("-----BEGIN {label}-----"));
        if text.value.contains("{vault://") {
            let words = "certificates are read as they are written: only keys may stand in a vault";
            self.report
                .push(Diagnostic::error("vault-reference", words).at(text.span));
        } else if !is_pem {
            self.report
                .push(Diagnostic::error("invalid-value", "this is not a PEM certificate").at(text.span));
        }
    }
}

/// A bare name in a list of objects reads as `{name: …}`, as the Admin API takes it.
fn named(node: Node) -> Node {
    match node.value {
        Value::Str(_) => {
            let span = node.span;
            let entry = crate::source::Entry {
                key: "name".into(),
                key_span: span,
                node,
            };
            Node {
                span,
                value: Value::Map(Box::new([entry])),
            }
        }
        _ => node,
    }
}
