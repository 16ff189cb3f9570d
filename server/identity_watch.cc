#include "server/identity_watch.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/status_macros.h"

namespace peerage {
namespace {

constexpr absl::Duration kEvery = absl::Seconds(1);

}  // namespace

absl::StatusOr<std::unique_ptr<IdentityWatch>> IdentityWatch::Start(std::vector<Source> sources,
                                                                    Log* log) {
  std::vector<Watched> watched;
  for (Source& source : sources) {
    // Before they are read: what changes meanwhile is then seen.
    WatchedFiles files(source.paths);
    RETURN_IF_ERROR(source.read());
    watched.push_back({std::move(source), std::move(files)});
  }
  return std::unique_ptr<IdentityWatch>(new IdentityWatch(std::move(watched), log));
}

IdentityWatch::IdentityWatch(std::vector<Watched> watched, Log* log)
    : log_(log), watched_(std::move(watched)), thread_(&IdentityWatch::Loop, this) {}

IdentityWatch::~IdentityWatch() {
  {
    absl::MutexLock lock(&mu_);
    ending_ = true;
  }
  thread_.join();
}

void IdentityWatch::Look() {
  absl::MutexLock lock(&mu_);
  for (Watched& watched : watched_) LookAt(watched);
}

void IdentityWatch::LookAt(Watched& watched) {
  if (!watched.files.HaveChanged()) return;
  const absl::Status status = watched.source.read();
  if (status.ok()) {
    log_->Write(LogLevel::kInfo, absl::StrCat(watched.source.what, ": read anew"));
  } else {
    log_->Write(LogLevel::kError,
                absl::StrCat(watched.source.what, ": as before, because ", status.message()));
  }
}

void IdentityWatch::Loop() {
  absl::MutexLock lock(&mu_);
  while (!mu_.AwaitWithTimeout(absl::Condition(&ending_), kEvery)) {
    for (Watched& watched : watched_) LookAt(watched);
  }
}

}  // namespace peerage
