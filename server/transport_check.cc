#include "server/transport_check.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "absl/strings/str_cat.h"

namespace peerage {
namespace {

// Other names may lead anywhere, whatever they begin with.
bool IsLocal(const ListenAddress& address) {
  in_addr number;
  if (inet_pton(AF_INET, address.host.c_str(), &number) == 1) {
    return ntohl(number.s_addr) >> IN_CLASSA_NSHIFT == IN_LOOPBACKNET;
  }
  return address.is_unix() || address.host == "localhost" || address.host == "::1";
}

}  // namespace

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
  if (!has_tls && !config.insecure && !IsLocal(config.listen)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--listen: ", config.listen.ToString(),
                     " is open to others, in plaintext: give --tls-cert and --tls-key, or "
                     "--insecure where something else protects what is sent"));
  }
  return absl::OkStatus();
}

}  // namespace peerage
