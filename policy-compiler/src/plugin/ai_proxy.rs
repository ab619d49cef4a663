//! ai-proxy: calls to one model of an OpenAI-compatible provider (Kong 3.15 ai-proxy).

use policy::isa::{Entry, Op};
use policy::table::{
    HttpVersion, Id, Model, ParamPlace, Provider, ProxyProtocol, RouteType, Rows, Scheme, Secret, Service,
    Streaming, Table, Verify,
};

use super::{Config, How, Instance, Lowering, Step, at_least, template};
use crate::diagnostic::Diagnostic;
use crate::extension;
use crate::lower::Context;
use crate::schema::PluginKind;

pub(super) const LOWERING: Lowering = Lowering {
    kind: PluginKind::AiProxy,
    how: How::Row {
        table: Table::Model,
        // Applied at the head, so that the exchange knows that it needs the body.
        steps: &[Step::always(Entry::Request, Op::Apply)],
        lower,
    },
};

/// Micro-units in a unit of money.
const MICRO: f64 = 1_000_000.0;

fn lower(context: &mut Context<'_>, instance: &Instance<'_>) -> u32 {
    let config = instance.config();
    let spoken = provider(context, config);
    let provider = spoken.unwrap_or(Provider::OpenAi);
    let route_type = route_type(context, config);
    if let Some(format) = config.word("llm_format").filter(|format| *format != "openai") {
        context.unsupported(
            config.span("llm_format"),
            format!("clients cannot speak `{format}` here"),
            "clients are expected to speak OpenAI's format",
        );
    }
    category(context, config, route_type);
    let name = config.word("model.name").unwrap_or_default();
    let name_parts = if name.contains("$(") {
        template::parts(context, name, config.span("model.name"))
    } else {
        Vec::new()
    };
    let name_parts = context.builder.list(&name_parts);
    let auth_header = config.word("auth.header_name").unwrap_or_default();
    if !auth_header.is_empty() {
        super::transformer::refuse_name(context, auth_header, config.span("auth.header_name"));
    }
    let target = target(context, config, spoken, route_type);
    let authorities = authorities(context, instance);
    refuse_hedging(context, instance);
    let service = service(context, instance, &target, authorities);
    let option = |field: &str| config.number(&format!("model.options.{field}"));
    let row = Model {
        id: context.text(&instance.plugin.meta.id.to_string()),
        source: context.source(instance.plugin.meta.span),
        provider,
        route_type,
        name: context.text(name),
        name_parts,
        service,
        path: context.text(&target.path),
        auth_header: context.text(auth_header),
        auth_value: secret(context, config, "auth.header_value"),
        param_name: context.text(config.word("auth.param_name").unwrap_or_default()),
        param_value: secret(context, config, "auth.param_value"),
        param_place: if config.word("auth.param_location") == Some("body") {
            ParamPlace::Body
        } else {
            ParamPlace::Query
        },
        allow_override: config.flag("auth.allow_override"),
        has_temperature: option("temperature").is_some(),
        temperature: option("temperature").unwrap_or_default(),
        max_tokens: option("max_tokens").map_or(0, at_least),
        has_top_p: option("top_p").is_some(),
        top_p: option("top_p").unwrap_or_default(),
        top_k: narrow(option("top_k").map_or(0, |top_k| at_least(top_k).saturating_add(1))),
        input_cost: option("input_cost").unwrap_or_default() * MICRO,
        output_cost: option("output_cost").unwrap_or_default() * MICRO,
        streaming: config
            .word("response_streaming")
            .and_then(Streaming::from_name)
            .unwrap_or(Streaming::Allow),
        max_body: narrow(config.count("max_request_body_size").unwrap_or(0)),
        model_header: config.flag_or("model_name_header", true),
        log_statistics: config.flag("logging.log_statistics"),
        log_payloads: config.flag("logging.log_payloads"),
        authorities,
    };
    context.builder.row(&row).number()
}

/// A model call is paid for each time that it is made.
fn refuse_hedging(context: &Context<'_>, instance: &Instance<'_>) {
    let service = instance.service.map(|index| &context.model[index]);
    let tag = service.and_then(|service| service.meta.extensions.get(&extension::HEDGE_AFTER));
    if let Some(tag) = tag {
        let words = "calls of models are never sent twice: each would be paid for twice";
        let finding = Diagnostic::error("hedge-model", words).at(tag.span);
        context
            .report
            .push(finding.also(instance.plugin.meta.span, "this plugin calls a model"));
    }
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn secret(context: &mut Context<'_>, config: Config<'_>, field: &str) -> Option<Id<Secret>> {
    config.word(field).map(|value| context.secret(value))
}

/// The provider; None after reporting that its API is not spoken.
fn provider(context: &Context<'_>, config: Config<'_>) -> Option<Provider> {
    let name = config.word("model.provider").unwrap_or_default();
    let known = Provider::from_name(name);
    if known.is_none() {
        context.unsupported(
            config.span("model.provider"),
            format!("the API of provider `{name}` is not spoken"),
            "the provider is called as if it spoke OpenAI's API",
        );
    }
    for (field, format) in [
        ("model.options.llama2_format", Provider::Llama2),
        ("model.options.mistral_format", Provider::Mistral),
    ] {
        if let (Some(written), true) = (config.word(field), known == Some(format))
            && written != "openai"
        {
            context.unsupported(
                config.span(field),
                format!("the format `{written}` of {name} is not spoken"),
                "the provider is called as if it spoke OpenAI's API",
            );
        }
    }
    known
}

fn route_type(context: &Context<'_>, config: Config<'_>) -> RouteType {
    let name = config.word("route_type").unwrap_or_default();
    RouteType::from_name(name).unwrap_or_else(|| {
        context.unsupported(
            config.span("route_type"),
            format!("calls of type `{name}` are not understood"),
            "calls are treated as chat",
        );
        RouteType::Chat
    })
}

/// The category says what the upstream makes; the route type has said so already where it is text or embeddings.
fn category(context: &Context<'_>, config: Config<'_>, route_type: RouteType) {
    let Some(name) = config.word("genai_category") else {
        return;
    };
    let fits = match name {
        "text/generation" => true,
        "text/embeddings" => route_type == RouteType::Embeddings,
        _ => false,
    };
    if !fits {
        context.unsupported(
            config.span("genai_category"),
            format!("`genai_category: {name}` is not enforced"),
            "calls are what `route_type` says",
        );
    }
}

/// Where calls go.
struct Target {
    scheme: Scheme,
    host: String,
    port: u32,
    path: String,
}

fn target(
    context: &Context<'_>,
    config: Config<'_>,
    provider: Option<Provider>,
    route_type: RouteType,
) -> Target {
    let own_path = match route_type {
        RouteType::Chat => "/v1/chat/completions",
        RouteType::Completions => "/v1/completions",
        RouteType::Embeddings => "/v1/embeddings",
    };
    let path = config.word("model.options.upstream_path").unwrap_or(own_path);
    let (url, field) = match config.word("model.options.upstream_url") {
        Some(url) => (url, "model.options.upstream_url"),
        // A provider that is not spoken has no address here: its key must not go to another one's.
        None => (provider.map_or("", home), "model.options"),
    };
    for (field, text) in [
        ("model.options.upstream_url", url),
        ("model.options.upstream_path", path),
    ] {
        if text.contains("$(") {
            context.report.push(
                Diagnostic::error("unsupported", "where calls go cannot depend on the request")
                    .at(config.span(field))
                    .help("give each destination a route of its own"),
            );
        }
    }
    parse_url(url, path).unwrap_or_else(|| {
        let words = if url.is_empty() {
            let name = config.word("model.provider").unwrap_or_default();
            format!("provider `{name}` has no address of its own here: `upstream_url` is needed")
        } else {
            "`upstream_url` is not an http or https URL".to_owned()
        };
        // Where an unspoken provider is an error, that it has no address is not another.
        if provider.is_some() || context.options.allow_unsupported {
            context
                .report
                .push(Diagnostic::error("upstream-url", words).at(config.span(field)));
        }
        Target {
            scheme: Scheme::Https,
            host: "localhost".to_owned(),
            port: 443,
            path: path.to_owned(),
        }
    })
}

/// The provider's public address; empty for those that are run by their users.
fn home(provider: Provider) -> &'static str {
    match provider {
        Provider::OpenAi => "https://api.openai.com",
        Provider::Mistral => "https://api.mistral.ai",
        Provider::DeepSeek => "https://api.deepseek.com",
        Provider::Xai => "https://api.x.ai",
        Provider::Cerebras => "https://api.cerebras.ai",
        Provider::Llama2 | Provider::Ollama | Provider::Vllm => "",
    }
}

/// A URL; its path wins over `path` if it has one.
fn parse_url(url: &str, path: &str) -> Option<Target> {
    let (scheme, rest) = url.split_once("://")?;
    let (scheme, default_port) = match scheme.to_ascii_lowercase().as_str() {
        "http" => (Scheme::Http, 80),
        "https" => (Scheme::Https, 443),
        _ => return None,
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, own_path) = rest.split_at(end);
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, u32::from(port.parse::<u16>().ok()?)),
        _ => (authority, default_port),
    };
    let host = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_ascii_lowercase();
    let own_path = own_path.split('#').next().unwrap_or_default();
    let path = match own_path {
        "" | "/" => path.to_owned(),
        own if own.starts_with('/') => own.to_owned(),
        own => format!("/{own}"),
    };
    let path = format!("/{}", path.trim_start_matches('/'));
    (!host.is_empty()).then_some(Target {
        scheme,
        host,
        port,
        path,
    })
}

fn authorities(context: &mut Context<'_>, instance: &Instance<'_>) -> Rows<policy::table::Authority> {
    let service = instance.service.map(|index| &context.model[index]);
    match service.and_then(|service| service.ca_certificates.as_deref()) {
        Some(indices) => crate::emit::authorities(context, indices),
        None => Rows::NONE,
    }
}

/// The provider as a service. Retries and timeouts are those of the route's own service, as in Kong.
fn service(
    context: &mut Context<'_>,
    instance: &Instance<'_>,
    target: &Target,
    authorities: Rows<policy::table::Authority>,
) -> Id<Service> {
    const TIMEOUT_MS: u32 = 60_000;
    let own = instance.service.map(|index| &context.model[index]);
    let retries = own.map_or(5, |service| u32::from(service.retries));
    let timeouts = own.map_or([TIMEOUT_MS; 3], |service| {
        [
            service.connect_timeout_ms,
            service.write_timeout_ms,
            service.read_timeout_ms,
        ]
    });
    let row = Service {
        id: context.text(&instance.plugin.meta.id.to_string()),
        name: context.text(&instance.plugin.name),
        source: context.source(instance.plugin.meta.span),
        scheme: target.scheme,
        host: context.text(&target.host),
        port: target.port,
        path: context.text(""),
        retries,
        connect_timeout: timeouts[0],
        write_timeout: timeouts[1],
        read_timeout: timeouts[2],
        upstream: None,
        // Calls carry the operator's key, so they never go to an unproven server.
        verify: Verify::On,
        verify_depth: u32::MAX,
        authorities,
        client_certificate: None,
        proxy_protocol: ProxyProtocol::Off,
        http: HttpVersion::Http1,
        // A model call costs money each time that it is made.
        hedge_after: 0,
        json: context.text("{}"),
    };
    context.builder.row(&row)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Option<(Scheme, String, u32, String)> {
        parse_url(url, "/v1/chat/completions").map(|t| (t.scheme, t.host, t.port, t.path))
    }

    #[test]
    fn urls_give_scheme_host_port_and_path() {
        let text = str::to_owned;
        assert_eq!(
            parsed("http://LLM.internal:8081/openai/chat?x=1#y"),
            Some((Scheme::Http, text("llm.internal"), 8081, text("/openai/chat?x=1")))
        );
        assert_eq!(
            parsed("https://[::1]:9000"),
            Some((Scheme::Https, text("::1"), 9000, text("/v1/chat/completions")))
        );
        assert_eq!(
            parsed("https://h/").map(|t| t.3),
            Some(text("/v1/chat/completions"))
        );
    }

    #[test]
    fn other_schemes_and_ports_are_no_urls() {
        assert_eq!(parsed("ftp://h"), None);
        assert_eq!(parsed("http://h:99999"), None);
        assert_eq!(parsed("http://"), None);
        assert_eq!(parsed("h/path"), None);
    }
}
