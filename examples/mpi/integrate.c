/* How far is the polynomial  first t (1 - t) + second t^2 (1 - t)^2  from  sin(pi t)  on [0, 1]?
 *
 * integrate FIRST SECOND METRICS: each rank adds up its share of the squared error, and rank 0 writes the line
 * "error VALUE" to the file METRICS. Each rank says where it ran: SLURM_NODEID is the node's number in the job. */
#include <math.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

#define POINTS 1000000L

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value ? value : "unknown";
}

int main(int argc, char **argv)
{
    int rank, size, failed = 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (argc != 4) {
        if (rank == 0)
            fprintf(stderr, "usage: integrate FIRST SECOND METRICS\n");
        MPI_Abort(MPI_COMM_WORLD, 2);
    }
    const double first = atof(argv[1]), second = atof(argv[2]);

    double share = 0, error = 0;
    for (long i = rank; i < POINTS; i += size) {
        const double t = (i + 0.5) / POINTS, u = t * (1 - t);
        const double miss = sin(M_PI * t) - first * u - second * u * u;
        share += miss * miss / POINTS;
    }
    MPI_Reduce(&share, &error, 1, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD);

    printf("rank %d of %d on node %s (%s)\n", rank, size, variable("SLURM_NODEID"), variable("SLURMD_NODENAME"));
    if (rank == 0) {
        FILE *metrics = fopen(argv[3], "w");
        failed = !metrics || fprintf(metrics, "error %.12g\n", error) < 0;
        if (metrics && fclose(metrics) != 0)
            failed = 1;
        if (failed)
            perror(argv[3]);
    }
    MPI_Finalize();
    return failed;
}
