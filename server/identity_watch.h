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
// then, and the log tells of both.
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

  // Reads all of them once; an error is the first source's that has one. `log` must outlive it.
  static absl::StatusOr<std::unique_ptr<IdentityWatch>> Start(std::vector<Source> sources,
                                                              Log* log);
  ~IdentityWatch();

  // Looks now.
  void Look() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Watched {
    Source source;
    WatchedFiles files;
  };

  IdentityWatch(std::vector<Watched> watched, Log* log);

  void Loop() ABSL_LOCKS_EXCLUDED(mu_);
  void LookAt(Watched& watched);

  Log* const log_;
  absl::Mutex mu_;
  std::vector<Watched> watched_ ABSL_GUARDED_BY(mu_);
  bool ending_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace peerage
