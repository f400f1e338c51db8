// What a training run keeps in its folder, beside checkpoint and weights.
#pragma once

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <sys/file.h>
#include <system_error>
#include <type_traits>
#include <unistd.h>
#include <vector>

#include <strata/core/error.hpp>
#include <strata/io/file.hpp>
#include <strata/io/json.hpp>

#include "event_file.hpp"
#include "tokenizer.hpp"

namespace examples {

namespace fs = std::filesystem;

/// A hash of 64 bits (FNV-1a), to notice that a text has changed.
class hash {
 public:
  void add(std::span<const std::byte> bytes) {
    for (const std::byte byte : bytes) sum_ = (sum_ ^ static_cast<std::uint8_t>(byte)) * 0x100000001b3u;
  }
  std::string text() const {
    char text[17];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(sum_));
    return text;
  }

 private:
  std::uint64_t sum_ = 0xcbf29ce484222325u;
};
inline std::string fingerprint(std::span<const std::uint8_t> bytes) {
  hash sum;
  sum.add(std::as_bytes(bytes));
  return sum.text();
}

/// What train_text keeps in a checkpoint beside the state of the training.
struct run_note {
  std::uint64_t text_bytes = 0;
  std::string text_fingerprint;
  std::string text_reading;  // older checkpoints have none
  std::string tokenizer;     // its fingerprint; empty: there is none
  double validation_fraction = 0.1;
  std::int64_t best_step = 0;  // 0: there is no best
  double best_loss = 0;        // nats, in an evaluation on the way
  std::int64_t best_windows = 0;
  std::string device = "cpu";  // older checkpoints have none
  int threads = 0;
  double seconds_asked = 0;  // 0: the run is limited by steps
  double seconds = 0;
};
/// Calls visit(key, field, least, most) for every field; texts have no range.
template <class Note, class Visit>
void for_each_field(Note& note, Visit visit) {
  constexpr double any = std::numeric_limits<double>::max();
  visit("text_bytes", note.text_bytes, std::uint64_t{0}, std::numeric_limits<std::uint64_t>::max());
  visit("text_fingerprint", note.text_fingerprint, 0, 0);
  visit("text_reading", note.text_reading, 0, 0);
  visit("tokenizer", note.tokenizer, 0, 0);
  visit("validation_fraction", note.validation_fraction, 0.0, std::nextafter(1.0, 0.0));
  visit("best_step", note.best_step, std::int64_t{0}, std::numeric_limits<std::int64_t>::max());
  visit("best_loss", note.best_loss, 0.0, any);
  visit("best_windows", note.best_windows, std::int64_t{0}, std::numeric_limits<std::int64_t>::max());
  visit("device", note.device, 0, 0);
  visit("threads", note.threads, 0, std::numeric_limits<int>::max());
  visit("seconds_asked", note.seconds_asked, 0.0, any);
  visit("seconds", note.seconds, 0.0, any);
}
inline nlohmann::json to_json(const run_note& note) {
  nlohmann::json object;
  for_each_field(note, [&](const char* key, const auto& field, auto, auto) { object[key] = field; });
  return object;
}
/// Fields without a key keep their default. Throws with `source`, the key and the value if one does not fit.
inline run_note run_note_from_json(const nlohmann::json& object, const std::string& source) {
  run_note note;
  for_each_field(note, [&]<class Field>(const char* key, Field& field, auto least, auto most) {
    const auto found = object.find(key);
    if (found == object.end()) return;
    if constexpr (std::is_same_v<Field, std::string>) {
      strata::require(found->is_string(), source, ": \"", key, "\" must be a text, but is ", found->dump());
      field = found->template get<std::string>();
    } else {
      field = strata::to_number<Field>(*found, key, source, least, most);
    }
  });
  return note;
}

/// TensorBoard reads files with "tfevents" in their names.
inline constexpr const char* events_name = "events.out.tfevents.strata";

/// The folder of a run. One process at a time may train in it.
class run_folder {
 public:
  explicit run_folder(const fs::path& path) {
    std::error_code problem;
    fs::create_directories(path, problem);
    strata::require(!problem, "cannot make the folder ", path, ": ", problem.message());
    descriptor_ = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    strata::require(descriptor_ >= 0, "cannot open the folder ", path, ": ", std::generic_category().message(errno));
    const bool busy = ::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (busy) ::close(descriptor_);
    strata::require(!busy, "another run is going on in the folder ", path);
    // A killed process may leave a temporary file behind.
    for (const char* own : {"checkpoint.safetensors", "weights.safetensors", "best.safetensors", "average.safetensors",
                            "metrics.jsonl", "report.html", tokenizer_name, events_name})
      strata::remove_leftovers(path / own);
  }
  run_folder(const run_folder&) = delete;
  run_folder& operator=(const run_folder&) = delete;
  ~run_folder() { ::close(descriptor_); }

 private:
  int descriptor_;
};

/// The metrics of a run for TensorBoard: numbers under their names, samples as texts.
class event_file {
 public:
  explicit event_file(fs::path path) : path_(std::move(path)) {}

  /// Starts again with these entries.
  void replace(const std::vector<nlohmann::json>& entries) {
    seconds_ = 0;
    for (const auto& entry : entries) seconds_ = std::max(seconds_, entry.value("seconds", 0.0));
    begin_ = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count() - seconds_;
    seconds_ = 0;
    std::string events = event_file_start(begin_);
    for (const auto& entry : entries) events += events_of(entry);
    file_.close();
    strata::write_file_atomically(path_, [&](auto& output) { output.write(std::as_bytes(std::span(events))); });
  }
  void write(const nlohmann::json& entry) {
    errno = 0;
    if (!file_.is_open()) file_.open(path_, std::ios::app | std::ios::binary);
    file_ << events_of(entry) << std::flush;
    strata::require(file_.good(), "cannot write ", path_, ": ", std::generic_category().message(errno));
  }

 private:
  std::string events_of(const nlohmann::json& entry) {
    seconds_ = entry.value("seconds", seconds_);
    const auto step = entry.at("step").get<std::int64_t>();
    std::string events;
    for (const auto& [key, value] : entry.items()) {
      if (key == "step" || key == "seconds" || key == "tokens") continue;
      if (value.is_number()) events += number_event(begin_ + seconds_, step, key, value.get<double>());
      if (value.is_string()) events += text_event(begin_ + seconds_, step, key, value.get_ref<const std::string&>());
    }
    return events;
  }

  fs::path path_;
  std::ofstream file_;
  double begin_ = 0, seconds_ = 0;  // seconds since 1970, and since then
};

/// Calls visit(entry, line) for each whole entry of a file of metrics.
template <class Visit>
void for_each_metric(const fs::path& path, Visit visit) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    auto entry = nlohmann::json::parse(line, nullptr, false);
    if (!entry.is_object() || !entry.contains("step") || !entry["step"].is_number_integer()) continue;
    visit(std::move(entry), line);
  }
}

/// One JSON object in each line, and the same for TensorBoard.
class metrics_file {
 public:
  metrics_file(fs::path path, fs::path events) : path_(std::move(path)), events_(std::move(events)) {}

  /// Drops entries after `step`: those steps are done again. If the run is finished, so are its last evaluation and
  /// sample.
  void continue_after(strata::index_type step, bool finished) {
    std::string kept;
    std::vector<nlohmann::json> entries;
    for_each_metric(path_, [&](nlohmann::json entry, const std::string& line) {
      const auto at = entry["step"].get<strata::index_type>();
      if (at > step || (at == step && finished && !entry.contains("loss"))) return;
      kept += line + '\n';
      entries.push_back(std::move(entry));
    });
    strata::write_file_atomically(path_, [&](auto& output) { output.write(std::as_bytes(std::span(kept))); });
    events_.replace(entries);
  }
  void write(const nlohmann::json& entry) {
    const std::string line = entry.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    errno = 0;
    if (!file_.is_open()) file_.open(path_, std::ios::app);
    file_ << line << '\n' << std::flush;
    strata::require(file_.good(), "cannot write ", path_, ": ", std::generic_category().message(errno));
    events_.write(nlohmann::json::parse(line));  // its texts are UTF-8
  }

 private:
  fs::path path_;
  event_file events_;
  std::ofstream file_;
};

}  // namespace examples
