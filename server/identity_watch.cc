#include "server/identity_watch.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/status_macros.h"

namespace peerage {
namespace {

constexpr absl::Duration kEvery = absl::Seconds(1);

}  // namespace

absl::StatusOr<std::unique_ptr<IdentityWatch>> IdentityWatch::Start(
    std::vector<Source> sources, Log* log, std::function<void(const std::string&)> on_failure) {
  std::vector<Watched> watched;
  for (Source& source : sources) {
    // Before they are read: what changes meanwhile is then seen.
    WatchedFiles files(source.paths);
    RETURN_IF_ERROR(source.read());
    watched.push_back({std::move(source), std::move(files)});
  }
  return std::unique_ptr<IdentityWatch>(
      new IdentityWatch(std::move(watched), log, std::move(on_failure)));
}

IdentityWatch::IdentityWatch(std::vector<Watched> watched, Log* log,
                             std::function<void(const std::string&)> on_failure)
    : log_(log),
      on_failure_(std::move(on_failure)),
      watched_(std::move(watched)),
      thread_(&IdentityWatch::Loop, this) {}

IdentityWatch::~IdentityWatch() {
  {
    absl::MutexLock lock(&mu_);
    ending_ = true;
  }
  thread_.join();
}

void IdentityWatch::ReadNow() {
  absl::MutexLock lock(&mu_);
  for (Watched& watched : watched_) LookAt(watched, true);
}

void IdentityWatch::LookAt(Watched& watched, bool always) {
  const bool changed = watched.files.HaveChanged();
  if (!changed && watched.failure.empty() && !always) return;
  const absl::Status status = watched.source.read();
  const std::string failure(status.message());
  const bool is_news = changed || failure != watched.failure;
  watched.failure = failure;
  if (!status.ok()) on_failure_(watched.source.what);
  if (!is_news) return;
  if (status.ok()) {
    log_->Write(LogLevel::kInfo, absl::StrCat(watched.source.what, ": read anew"));
  } else {
    log_->Write(LogLevel::kError,
                absl::StrCat(watched.source.what, ": as before, because ", failure));
  }
}

void IdentityWatch::Loop() {
  absl::MutexLock lock(&mu_);
  while (!mu_.AwaitWithTimeout(absl::Condition(&ending_), kEvery)) {
    for (Watched& watched : watched_) LookAt(watched, false);
  }
}

}  // namespace peerage
