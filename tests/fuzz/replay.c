/* replay: runs the files that it is given through the target that it is linked with. For whoever has no libFuzzer. */
#include <dirent.h>

#include "fuzz.h"

static unsigned long files;

static void run(const char *path) {
    FILE *file = fopen(path, "rb");
    long size = -1;
    if (file != NULL && fseek(file, 0, SEEK_END) == 0) size = ftell(file);
    if (size < 0 || fseek(file, 0, SEEK_SET) != 0) {
        fprintf(stderr, "replay: %s cannot be read\n", path);
        exit(2);
    }
    uint8_t *bytes = malloc(size > 0 ? (size_t)size : 1);
    DEMAND(bytes != NULL && fread(bytes, 1, (size_t)size, file) == (size_t)size);
    fclose(file);
    /* Told before, so that a crash says what it was about. */
    printf("%s\n", path);
    fflush(stdout);
    LLVMFuzzerTestOneInput(bytes, (size_t)size);
    free(bytes);
    files++;
}

static void run_folder(const char *folder) {
    DIR *dir = opendir(folder);
    char path[4096];
    for (struct dirent *each; dir != NULL && (each = readdir(dir)) != NULL;) {
        if (each->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", folder, each->d_name);
        run(path);
    }
    if (dir != NULL) closedir(dir);
}

int main(int argc, char **argv) {
    LLVMFuzzerInitialize(&argc, &argv);
    for (int i = 1; i < argc; i++) {
        DIR *dir = opendir(argv[i]);
        if (dir != NULL) closedir(dir);
        if (dir != NULL) run_folder(argv[i]);
        else run(argv[i]);
    }
    printf("%lu files\n", files);
    return files > 0 ? 0 : 2;
}
