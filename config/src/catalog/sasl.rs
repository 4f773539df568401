//! Keys of SASL, by name.
//!
//! Facts (names, types, defaults, bounds, update modes) are Apache Kafka 4.3's; the sentences are
//! ours.

use crate::catalog::reason;
use crate::key::{ConfigKey, broker};
use crate::value::Kind::{Boolean, Class, Double, Int, List, Long, Password, Short, String};

pub(super) const KEYS: &[ConfigKey] = &[
    broker("sasl.client.callback.handler.class", Class).accepted(reason::SECURITY),
    broker("sasl.enabled.mechanisms", List)
        .default("GSSAPI")
        .distinct()
        .per_broker()
        .accepted(reason::SECURITY),
    broker("sasl.jaas.config", Password).per_broker().accepted(reason::SECURITY),
    broker("sasl.kerberos.kinit.cmd", String)
        .default("/usr/bin/kinit")
        .per_broker()
        .accepted(reason::SECURITY),
    broker("sasl.kerberos.min.time.before.relogin", Long)
        .default("60000")
        .per_broker()
        .accepted(reason::SECURITY),
    broker("sasl.kerberos.principal.to.local.rules", List)
        .default("DEFAULT")
        .distinct()
        .per_broker()
        .accepted(reason::SECURITY),
    broker("sasl.kerberos.service.name", String).per_broker().accepted(reason::SECURITY),
    broker("sasl.kerberos.ticket.renew.jitter", Double)
        .default("0.05")
        .per_broker()
        .accepted(reason::SECURITY),
    broker("sasl.kerberos.ticket.renew.window.factor", Double)
        .default("0.8")
        .per_broker()
        .accepted(reason::SECURITY),
    broker("sasl.login.callback.handler.class", Class).accepted(reason::SECURITY),
    broker("sasl.login.class", Class).accepted(reason::SECURITY),
    broker("sasl.login.connect.timeout.ms", Int).low().accepted(reason::SECURITY),
    broker("sasl.login.read.timeout.ms", Int).low().accepted(reason::SECURITY),
    broker("sasl.login.refresh.buffer.seconds", Short)
        .default("300")
        .per_broker()
        .accepted(reason::SECURITY),
    broker("sasl.login.refresh.min.period.seconds", Short)
        .default("60")
        .per_broker()
        .accepted(reason::SECURITY),
    broker("sasl.login.refresh.window.factor", Double)
        .default("0.8")
        .per_broker()
        .accepted(reason::SECURITY),
    broker("sasl.login.refresh.window.jitter", Double)
        .default("0.05")
        .per_broker()
        .accepted(reason::SECURITY),
    broker("sasl.login.retry.backoff.max.ms", Long)
        .default("10000")
        .low()
        .accepted(reason::SECURITY),
    broker("sasl.login.retry.backoff.ms", Long).default("100").low().accepted(reason::SECURITY),
    broker("sasl.mechanism.controller.protocol", String)
        .default("GSSAPI")
        .high()
        .accepted(reason::SECURITY),
    broker("sasl.mechanism.inter.broker.protocol", String)
        .default("GSSAPI")
        .per_broker()
        .accepted(reason::SECURITY),
    broker("sasl.oauthbearer.assertion.algorithm", String)
        .default("RS256")
        .one_of_ignore_case(&["ES256", "RS256"])
        .accepted(reason::SECURITY),
    broker("sasl.oauthbearer.assertion.claim.aud", String).accepted(reason::SECURITY),
    broker("sasl.oauthbearer.assertion.claim.exp.seconds", Int)
        .default("300")
        .between(0, 86_400)
        .low()
        .accepted(reason::SECURITY),
    broker("sasl.oauthbearer.assertion.claim.iss", String).accepted(reason::SECURITY),
    broker("sasl.oauthbearer.assertion.claim.jti.include", Boolean)
        .default("false")
        .accepted(reason::SECURITY),
    broker("sasl.oauthbearer.assertion.claim.nbf.seconds", Int)
        .default("60")
        .between(0, 3_600)
        .low()
        .accepted(reason::SECURITY),
    broker("sasl.oauthbearer.assertion.claim.sub", String).accepted(reason::SECURITY),
    broker("sasl.oauthbearer.assertion.file", String).accepted(reason::SECURITY),
    broker("sasl.oauthbearer.assertion.private.key.file", String).accepted(reason::SECURITY),
    broker("sasl.oauthbearer.assertion.private.key.passphrase", Password)
        .accepted(reason::SECURITY),
    broker("sasl.oauthbearer.assertion.template.file", String).accepted(reason::SECURITY),
    broker("sasl.oauthbearer.client.credentials.client.id", String).accepted(reason::SECURITY),
    broker("sasl.oauthbearer.client.credentials.client.secret", Password)
        .accepted(reason::SECURITY),
    broker("sasl.oauthbearer.clock.skew.seconds", Int)
        .default("30")
        .low()
        .accepted(reason::SECURITY),
    broker("sasl.oauthbearer.expected.audience", List)
        .default("")
        .distinct()
        .high()
        .accepted(reason::SECURITY),
    broker("sasl.oauthbearer.expected.issuer", String).high().accepted(reason::SECURITY),
    broker("sasl.oauthbearer.jwks.endpoint.refresh.ms", Long)
        .default("3600000")
        .low()
        .accepted(reason::SECURITY),
    broker("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", Long)
        .default("10000")
        .low()
        .accepted(reason::SECURITY),
    broker("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", Long)
        .default("100")
        .low()
        .accepted(reason::SECURITY),
    broker("sasl.oauthbearer.jwks.endpoint.url", String).accepted(reason::SECURITY),
    broker("sasl.oauthbearer.jwt.retriever.class", Class)
        .default("org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever")
        .accepted(reason::SECURITY),
    broker("sasl.oauthbearer.jwt.validator.class", Class)
        .default("org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator")
        .accepted(reason::SECURITY),
    broker("sasl.oauthbearer.scope", String).accepted(reason::SECURITY),
    broker("sasl.oauthbearer.scope.claim.name", String)
        .default("scope")
        .low()
        .accepted(reason::SECURITY),
    broker("sasl.oauthbearer.sub.claim.name", String)
        .default("sub")
        .low()
        .accepted(reason::SECURITY),
    broker("sasl.oauthbearer.token.endpoint.url", String).accepted(reason::SECURITY),
    broker("sasl.server.callback.handler.class", Class).accepted(reason::SECURITY),
    broker("sasl.server.max.receive.size", Int).default("524288").accepted(reason::SECURITY),
];
