#include "server/door/connection_limits.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace peerage {

std::string PeerOf(absl::string_view address) {
  const absl::string_view with_port = address;
  const absl::string_view host = with_port.substr(0, with_port.rfind(':'));
  absl::string_view plain = host;
  if (!absl::ConsumePrefix(&plain, "ipv6:[") || !absl::ConsumeSuffix(&plain, "]")) {
    return std::string(host);
  }
  in6_addr parsed = {};
  if (inet_pton(AF_INET6, std::string(plain).c_str(), &parsed) != 1) return std::string(host);
  char text[INET6_ADDRSTRLEN] = "";
  if (IN6_IS_ADDR_V4MAPPED(&parsed)) {
    inet_ntop(AF_INET, parsed.s6_addr + 12, text, sizeof(text));
    return absl::StrCat("ipv4:", text);
  }
  std::memset(parsed.s6_addr + 8, 0, 8);
  inet_ntop(AF_INET6, &parsed, text, sizeof(text));
  return absl::StrCat("ipv6:[", text, "]");
}

std::optional<Refusal> ConnectionLimits::Begin(const std::string& peer) {
  absl::MutexLock lock(&mu_);
  if (connections_ >= limits_.connections) return Refusal::kConnections;
  const auto found = connections_of_.find(peer);
  if (found != connections_of_.end() && found->second >= limits_.peer_connections) {
    return Refusal::kPeerConnections;
  }
  ++connections_;
  ++connections_of_[peer];
  return std::nullopt;
}

void ConnectionLimits::End(const std::string& peer) {
  absl::MutexLock lock(&mu_);
  --connections_;
  const auto found = connections_of_.find(peer);
  if (--found->second == 0) connections_of_.erase(found);
}

bool ConnectionLimits::BeginCall(const std::string& peer) {
  absl::MutexLock lock(&mu_);
  if (calls_ >= limits_.calls) return false;
  int& of_peer = calls_of_[peer];
  if (of_peer >= limits_.peer_calls) return false;
  ++of_peer;
  ++calls_;
  return true;
}

void ConnectionLimits::EndCalls(const std::string& peer, size_t calls) {
  if (calls == 0) return;
  absl::MutexLock lock(&mu_);
  calls_ -= static_cast<int>(calls);
  const auto of_peer = calls_of_.find(peer);
  of_peer->second -= static_cast<int>(calls);
  if (of_peer->second == 0) calls_of_.erase(of_peer);
}

int ConnectionLimits::connections() const {
  absl::MutexLock lock(&mu_);
  return connections_;
}

int ConnectionLimits::calls() const {
  absl::MutexLock lock(&mu_);
  return calls_;
}

}  // namespace peerage
