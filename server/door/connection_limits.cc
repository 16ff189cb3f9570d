#include "server/door/connection_limits.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/ip_address.h"

namespace peerage {
namespace {

// So many at once never wait for what others do.
constexpr double kFewConnections = 10;

}  // namespace

std::string PeerOf(absl::string_view address) {
  std::optional<IpAddress> ip = IpAddressOfPeer(address);
  if (!ip) return std::string(address.substr(0, address.rfind(':')));
  if (ip->is_ipv4()) return absl::StrCat("ipv4:", ip->ToString());
  std::fill(ip->bytes.begin() + 8, ip->bytes.end(), 0);
  return absl::StrCat("ipv6:[", ip->ToString(), "]");
}

std::optional<Refusal> ConnectionLimits::Begin(const std::string& peer, absl::Time now) {
  absl::MutexLock lock(&mu_);
  if (!MayBegin(peer, now)) return Refusal::kConnectionRate;
  const int left = limits_.connections - (connections_ - leaving_);
  const auto found = connections_of_.find(peer);
  const int of_peer = found == connections_of_.end() ? 0 : found->second;
  // It leaves as many to others as it has, or has few and takes an idle one's place.
  const int share = left > 0 ? std::min(limits_.peer_connections, left + 1) : 0;
  if (of_peer >= share) {
    const bool has_few = of_peer < std::min(limits_.peer_connections, Few());
    if (!has_few || leaving_ >= MostLeaving() || !idle_.MakeRoom(now)) {
      return left > 0 ? Refusal::kPeerConnections : Refusal::kConnections;
    }
    ++leaving_;
  }
  ++connections_;
  ++connections_of_[peer];
  return std::nullopt;
}

bool ConnectionLimits::MayBegin(const std::string& peer, absl::Time now) {
  TokenBucket& of_peer = new_connections_of_.Of(peer, now);
  const double many = limits_.new_peer_connections.at_once - kFewConnections;
  const bool among_few = of_peer.Has(many + 1, now);
  return of_peer.Take(now) && (new_connections_.Take(now) || among_few);
}

void ConnectionLimits::End(const std::string& peer) {
  absl::MutexLock lock(&mu_);
  --connections_;
  leaving_ = std::max(leaving_ - 1, 0);
  const auto found = connections_of_.find(peer);
  if (--found->second == 0) connections_of_.erase(found);
}

void ConnectionLimits::Stay() {
  absl::MutexLock lock(&mu_);
  leaving_ = std::max(leaving_ - 1, 0);
}

bool ConnectionLimits::BeginCall(const std::string& peer) {
  absl::MutexLock lock(&mu_);
  const int left = limits_.calls - calls_;
  if (left <= 0) return false;
  int& of_peer = calls_of_[peer];
  if (of_peer > left) return false;
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
