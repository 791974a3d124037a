#include "mc-spool/run.hpp"

int main(int argc, char** argv) {
  return mc::cli::run_main("mc-spool", "Keep a recording in a directory, safe against crashes.", argc, argv,
                           mc::tool_spool::run);
}
