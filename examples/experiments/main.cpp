// Trains a table of configurations under an equal budget, with several seeds, and compares them. See
// docs/experiments.md, or `experiments --help`.
#include <algorithm>
#include <chrono>
#include <fstream>
#include <memory>
#include <poll.h>

#include "../run_files.hpp"
#include "../training_options.hpp"
#include "process.hpp"
#include "report.hpp"

namespace {

using namespace experiments;
using examples::interrupted, examples::whole_number, examples::positive_number;

struct program_options {
  std::string text, out = "runs/experiments", run;
  std::vector<std::string> only;
  std::uint64_t seeds = 3, seed = 1;
  bool list = false;
  settings shared;
};

constexpr double seconds_of_a_year = 366.0 * 24 * 3600, most_flops = 1e24;

struct planned_run {
  const configuration* what;
  std::uint64_t seed;
  std::string name() const { return what->name + " with seed " + std::to_string(seed); }
};

/// The configurations that were asked for.
std::vector<const configuration*> chosen(const program_options& options) {
  std::vector<const configuration*> all;
  for (const configuration& each : find_comparison(options.shared.table).configurations)
    if (options.only.empty() || std::count(options.only.begin(), options.only.end(), each.name) > 0)
      all.push_back(&each);
  return all;
}

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name")) return line.substr(std::min(line.size(), line.find(':') + 2));
  return "unknown processor";
}

/// Trains the missing runs, some at a time, and writes the report after each.
class experiment {
 public:
  explicit experiment(const program_options& options) : options_(options), folder_(options.out), lock_(folder_) {
    keep_settings(own_, folder_);
    fs::create_directories(folder_ / "runs");
    for (std::uint64_t seed = 1; seed <= options.seeds; ++seed)
      for (const configuration* each : chosen(options)) planned_.push_back({each, seed});
    for (const planned_run& each : planned_) {
      const fs::path result = result_path(folder_, each.what->name, each.seed);
      const fs::path checkpoint = checkpoint_path(folder_, each.what->name, each.seed);
      strata::remove_leftovers(result);
      strata::remove_leftovers(checkpoint);
      if (!fs::exists(result))
        missing_.push_back(each);
      else  // left by a kill
        fs::remove(checkpoint);
    }
    for (const char* own : {"experiment.json", "report.html", "results.csv"}) strata::remove_leftovers(folder_ / own);
    running_.resize(static_cast<std::size_t>(own_.jobs));
    if (own_.pin) cores_ = allowed_cores();
  }

  int run() {
    write_reports();
    std::cerr << planned_.size() << " runs, " << planned_.size() - missing_.size() << " of them done; the report is "
              << (folder_ / "report.html").string() << '\n';
    started_ = std::chrono::steady_clock::now();
    total_ = static_cast<double>(missing_.size());
    std::reverse(missing_.begin(), missing_.end());
    while (start_runs()) {
      wait_for_output();
      draw();
    }
    bar_.end_line();
    if (interrupted) {
      std::cerr << "stopped; the same command continues: runs that are done are kept, the others continue where they "
                   "were\n";
      return 128 + interrupted;
    }
    strata::require(failed_ == 0, failed_, " runs failed; the report has the others");
    std::cout << "report " << (folder_ / "report.html").string() << "\ntable " << (folder_ / "results.csv").string()
              << '\n';
    return 0;
  }

 private:
  struct running {
    planned_run what;
    std::unique_ptr<child_process> process;
  };

  bool done(const planned_run& run) const { return fs::exists(result_path(folder_, run.what->name, run.seed)); }

  /// Starts runs while a job is free. Returns whether any run is going on.
  bool start_runs() {
    bool any = false;
    for (std::size_t slot = 0; slot < running_.size(); ++slot) {
      if (!running_[slot].process && !missing_.empty() && !interrupted) {
        const planned_run next = missing_.back();
        missing_.pop_back();
        const std::vector<std::string> arguments{"--run",  next.what->name, "--seed", std::to_string(next.seed),
                                                 "--text", options_.text,   "--out",  options_.out};
        running_[slot] = {next, std::make_unique<child_process>(arguments, cores_of(slot))};
      }
      any = any || running_[slot].process;
    }
    if (interrupted && !passed_on_) {
      passed_on_ = true;
      for (const running& each : running_)
        if (each.process) each.process->interrupt();
    }
    return any;
  }

  std::vector<int> cores_of(std::size_t slot) const {
    if (!own_.pin) return {};
    const auto threads = static_cast<std::size_t>(own_.threads);
    const auto first = cores_.begin() + static_cast<std::ptrdiff_t>(slot * threads);
    return {first, first + own_.threads};
  }

  void wait_for_output() {
    std::vector<pollfd> waiting;
    for (const running& each : running_) waiting.push_back({each.process ? each.process->descriptor() : -1, POLLIN, 0});
    if (poll(waiting.data(), waiting.size(), 200) <= 0) return;
    for (std::size_t slot = 0; slot < running_.size(); ++slot)
      if (waiting[slot].revents != 0 && !running_[slot].process->read()) finish(running_[slot]);
  }

  void finish(running& each) {
    const outcome end = each.process->wait();
    const std::string said = each.process->said();
    each.process.reset();
    if (end == outcome::interrupted && interrupted) return;
    bar_.end_line();
    finished_ += 1;
    if (end == outcome::good) {
      write_reports();
      std::cerr << each.what.name() << " is done\n" << said;
    } else {
      ++failed_;
      std::cerr << each.what.name() << " failed: " << said;
    }
  }

  void write_reports() {
    const auto all = summarise(own_, read_results(own_, folder_));
    std::size_t runs = 0;
    for (const summary& each : all) runs += each.runs.size();
    for (const planned_run& each : planned_) runs += done(each) ? 0 : 1;
    write_csv(own_, all, folder_ / "results.csv");
    write_report(own_, all, runs, folder_ / "report.html");
  }

  void draw() {
    double fraction = finished_, progress = finished_;
    std::string text;
    for (const running& each : running_) {
      if (!each.process) continue;
      fraction += each.process->fraction();
      progress += each.process->progress();
      text += "  " + each.what.what->name + '/' + std::to_string(each.what.seed) + ' ' +
              examples::fixed(each.process->bits_per_byte(), 3);
    }
    const double passed = examples::seconds_since(started_);
    const std::string left = interrupted    ? "stopping"
                             : progress > 0 ? examples::clock_text((total_ - fraction) * passed / progress) + " left"
                                            : "starting";
    // Runs that are being evaluated are not done yet.
    bar_.draw(finished_ < total_ ? std::min(0.999, fraction / total_) : 1, passed,
              std::to_string(static_cast<int>(finished_)) + '/' + std::to_string(static_cast<int>(total_)) + "  " +
                  left + text);
  }

  program_options options_;
  const settings& own_ = options_.shared;
  fs::path folder_;
  examples::run_folder lock_;
  std::vector<planned_run> planned_, missing_;  // the last missing run is the next
  std::vector<running> running_;
  std::vector<int> cores_;
  double total_ = 0, finished_ = 0;
  int failed_ = 0;
  bool passed_on_ = false;
  examples::progress_bar bar_;
  std::chrono::steady_clock::time_point started_;
};

/// Prints all tables, with the cost of one text of 512 bytes.
void list() {
  for (const comparison& among : all_comparisons()) {
    std::cout << among.name << ": " << among.description << '\n';
    for (const configuration& each : among.configurations)
      std::cout << "  " << each.name << ": " << each.description << ' '
                << examples::fixed(static_cast<double>(each.parameters) / 1e6, 2) << " M parameters, "
                << examples::fixed(each.training_flops(1, 512, {}) / 512e6, 1) << " MFLOP a token in training.\n";
  }
}

/// Checks the options before a folder is made, and fills in those that are not given.
void complete(program_options& options) {
  settings& own = options.shared;
  strata::require(!options.text.empty(), "--text is required");
  strata::require((own.seconds > 0) != (own.flops > 0), "a budget is required: --seconds or --flops");
  strata::require(!own.prompt.empty(), "--prompt must not be empty");
  try {
    nlohmann::json(own.prompt).dump();
  } catch (const nlohmann::json::exception&) {
    strata::fail("--prompt must be text in UTF-8");
  }
  check(own.training);
  const comparison& among = find_comparison(own.table);
  for (const std::string& name : options.only) find_configuration(among, name);
  const auto cores = static_cast<int>(allowed_cores().size());
  if (own.threads == 0) own.threads = std::max(1, cores / own.jobs);
  strata::require(!own.pin || own.jobs * own.threads <= cores, "--pin: ", own.jobs, " runs at a time of ", own.threads,
                  " threads need ", own.jobs * own.threads, " processors, but this process may use ", cores);
  own.processor = processor_name();

  const auto text = strata::text::load(options.text, own.validation_fraction);
  text.require_length(own.training.length);
  own.text_bytes = text.all().size();
  own.text_fingerprint = examples::fingerprint(text.all());
  for (const configuration* each : chosen(options)) {
    const double flops = step_flops(*each, own, text.training());
    strata::require(own.timed() || own.flops >= flops, "--flops ", own.flops, " is less than the ", flops,
                    " of one step of ", each->name);
    strata::require(own.training.length <= each->max_length, "--length ", own.training.length, " is more than the ",
                    each->max_length, " bytes that ", each->name, " is made for");
  }
}

}  // namespace

int main(int argc, char** argv) {
  strata::keep_freed_memory();
  program_options options;
  settings& own = options.shared;
  own.training.length = 512;
  CLI::App app(
      "Trains configurations of examples/experiments/configurations.hpp under an equal budget and compares them.",
      "experiments");
  app.add_flag("--list", options.list, "print all tables and their configurations");
  app.add_option("--text", options.text, "the file to learn");
  app.add_option("--out", options.out, "for the report, the table and the runs, which are continued")
      ->capture_default_str();
  app.add_option("--table", own.table, "which configurations")->capture_default_str();
  app.add_option("--only", options.only, "only these configurations, separated by commas")
      ->delimiter(',')
      ->allow_extra_args(false);
  app.add_option("--seeds", options.seeds, "runs of each configuration: seeds 1, 2 and so on")
      ->check(whole_number(1, 1000))
      ->capture_default_str();
  auto* seconds =
      app.add_option("--seconds", own.seconds, "train each run this long")->check(positive_number(seconds_of_a_year));
  app.add_option("--flops", own.flops, "or train each run for this many FLOPs, such as 1e14")
      ->check(positive_number(most_flops))
      ->excludes(seconds);
  examples::add_training_options(app, own.training);
  app.add_option("--validation-fraction", own.validation_fraction,
                 "part of the text, at its end, that is not trained on")
      ->check(examples::number("a number between 0 and 1", [](double value) { return value > 0 && value < 1; }))
      ->capture_default_str();
  app.add_option("--points", own.points, "evaluations during training, for the curves")
      ->check(whole_number(1, 10'000))
      ->capture_default_str();
  app.add_option("--evaluate-windows", own.evaluate_windows, "windows in each of them; 0: all")
      ->check(whole_number(0))
      ->capture_default_str();
  app.add_option("--prompt", own.prompt, "text that samples continue (default: a line break)");
  app.add_option("--sample-length", own.sample_length, "bytes")
      ->check(whole_number(0, 1'000'000))
      ->capture_default_str();
  app.add_option("--threads", own.threads, "threads of a run; 0: its share of the processors")
      ->check(whole_number(0, 1024))
      ->capture_default_str();
  app.add_option("--jobs", own.jobs, "runs at a time")->check(whole_number(1, 1024))->capture_default_str();
  app.add_flag("--pin", own.pin, "give each run processors of its own");
  // The program starts itself with these options for one run.
  app.add_option("--run", options.run)->group("");
  app.add_option("--seed", options.seed)->group("");

  return examples::run_program(app, argc, argv, [&] {
    examples::catch_interrupts();
    if (options.list) {
      list();
      return 0;
    }
    if (!options.run.empty()) {
      const settings shared = read_settings(options.out);
      const configuration& what = find_configuration(find_comparison(shared.table), options.run);
      const bool done = what.train(what, shared, options.text, options.out, options.seed);
      return done ? 0 : 128 + interrupted;
    }
    complete(options);
    return experiment(options).run();
  });
}
