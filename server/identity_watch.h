#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "server/identity/watched_files.h"
#include "server/log/log.h"

namespace peerage {

// Has files read, and read anew when they change: what they said last stays where they are no good
// then, and they are tried again until they are, for what failed may have been the moment rather
// than the files. The log tells of both, of each reason once.
//
// Threads: safe from many. Looks every second on a thread of its own.
class IdentityWatch {
 public:
  // What some files are for, and what reads them: OK when it has taken what they say.
  struct Source {
    std::string what;  // "tokens and policy", for the log
    std::vector<std::string> paths;
    std::function<absl::Status()> read;
  };

  // Reads all of them once; an error is the first source's that has one. `on_failure` is told each
  // time that one of them (Source::what) cannot be read anew. `log` must outlive it.
  static absl::StatusOr<std::unique_ptr<IdentityWatch>> Start(
      std::vector<Source> sources, Log* log, std::function<void(const std::string&)> on_failure);
  ~IdentityWatch();

  // Reads all of them now, changed or not.
  void ReadNow() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Watched {
    Source source;
    WatchedFiles files;
    std::string failure = {};  // why they could not be read last time; empty: they could
  };

  IdentityWatch(std::vector<Watched> watched, Log* log,
                std::function<void(const std::string&)> on_failure);

  void Loop() ABSL_LOCKS_EXCLUDED(mu_);
  // Reads them where they have changed or could not be read, or `always`.
  void LookAt(Watched& watched, bool always);

  Log* const log_;
  const std::function<void(const std::string&)> on_failure_;
  absl::Mutex mu_;
  std::vector<Watched> watched_ ABSL_GUARDED_BY(mu_);
  bool ending_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace peerage
