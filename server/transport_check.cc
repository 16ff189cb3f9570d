#include "server/transport_check.h"

#include "absl/strings/str_cat.h"
#include "base/ip_address.h"

namespace peerage {
absl::Status CheckTransport(const ServerConfig& config) {
  const bool has_tls = !config.tls_cert.empty();
  if (has_tls != !config.tls_key.empty()) {
    return absl::InvalidArgumentError("--tls-cert and --tls-key: one needs the other");
  }
  if (!config.tls_client_ca.empty() && !has_tls) {
    return absl::InvalidArgumentError("--tls-client-ca: needs --tls-cert and --tls-key");
  }
  if (has_tls && config.door == "off") {
    return absl::InvalidArgumentError("--tls-cert: needs --door on, which does TLS");
  }
  const bool is_local = config.listen.is_unix() || IsLoopback(config.listen.host);
  if (!has_tls && !config.insecure && !is_local) {
    return absl::InvalidArgumentError(
        absl::StrCat("--listen: ", config.listen.ToString(),
                     " is open to others, in plaintext: give --tls-cert and --tls-key, or "
                     "--insecure where something else protects what is sent"));
  }
  return absl::OkStatus();
}

}  // namespace peerage
