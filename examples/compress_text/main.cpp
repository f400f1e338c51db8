// Compresses a file with a model that starts knowing nothing and learns the file while it reads it. This file reads
// the options. See docs/recipes.md, or `compress_text --help`.
#include <strata/core/buffer.hpp>

#include "../program.hpp"
#include "compression.hpp"

int main(int argc, char** argv) {
  strata::keep_freed_memory();
  compress_text::program_options options;
  CLI::App app("Compresses a file with a model that learns it while it reads it, or restores a compressed file.",
               "compress_text");
  std::string restored;
  auto* input = app.add_option("FILE", options.input, "file to compress to FILE.strata; -: standard input");
  auto* restore =
      app.add_option("--restore", restored, "restore this file instead; -: standard input")->type_name("FILE.strata");
  auto* out = app.add_option("--out", options.output, "file to write; -: standard output")->type_name("FILE");
  bool chosen[3] = {};
  auto* fast = app.add_flag("--fast", chosen[0], "a smaller model: quicker, larger files");
  auto* best = app.add_flag("--best", chosen[1], "a larger model: slower, smaller files");
  auto* tiny = app.add_flag("--tiny", chosen[2], "the smallest model, for tests");
  app.add_flag("--overwrite", options.overwrite, "replace the file to write if it exists");
  auto* threads = app.add_option("--threads", options.threads,
                                 "threads; 0: one for each processor. The same number restores the file")
                      ->check(examples::whole_number(0, 1024))
                      ->capture_default_str();

  return examples::run_program(app, argc, argv, [&] {
    const bool restores = restore->count() > 0;
    strata::require(restores != (input->count() > 0), "a file to compress or --restore FILE.strata is required");
    if (restores) {
      strata::require(threads->count() == 0 && fast->count() + best->count() + tiny->count() == 0,
                      "a file is restored with the model and threads that compressed it: leave out --fast, --best, "
                      "--tiny and --threads");
      options.input = restored;
    }
    strata::require(fast->count() + best->count() + tiny->count() <= 1, "--fast, --best and --tiny exclude each other");
    for (const CLI::Option* each : {fast, best, tiny})
      if (each->count() > 0) options.size = each->get_name().substr(2);
    strata::require(!options.input.empty(), "the name of the file to read must not be empty");
    strata::require(out->count() == 0 || !options.output.empty(), "--out must not be empty");
    constexpr std::string_view ending = ".strata";
    if (out->count() == 0) {
      options.output = options.input;
      if (options.input != "-") {
        if (!restores) {
          options.output += ending;
        } else {
          strata::require(options.input.ends_with(ending) && options.input.size() > ending.size(), "the name of ",
                          std::filesystem::path(options.input), " does not end in ", ending,
                          ": --out FILE says what to write");
          options.output.resize(options.input.size() - ending.size());
        }
      }
    }
    examples::catch_interrupts();
    return restores ? compress_text::restore(options) : compress_text::compress(options);
  });
}
